"""Containers: handles, properties, attributes, snapshots, object id ranges."""
