"""The command lines. Each is a module of its own, named after its command."""
