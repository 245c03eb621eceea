"""The engine: xstreams, the targets that own storage, and the modules that serve requests."""
