"""Pools: handles, properties, attributes, space; the pool service."""
