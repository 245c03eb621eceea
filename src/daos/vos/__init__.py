"""The versioned object store of one target: synchronous, no await, opens no files.

`VosPool` over a `bio.meta.MetaContext`; its containers do the work. See README.md.
"""
