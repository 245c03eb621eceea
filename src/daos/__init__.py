"""DAOS in Python: a versioned, transactional object store."""
