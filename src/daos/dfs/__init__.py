"""Files in a container of type POSIX. See README.md; what users need is `cont.filesystem()`."""
