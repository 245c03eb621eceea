"""Devices, memory, space, log and checkpoints of one target: everything that touches a disk."""
