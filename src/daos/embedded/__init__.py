"""A whole system inside the caller's process: management, one engine, several targets."""
