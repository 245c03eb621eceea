"""An array of bytes as a file object of `io`.

`ArrayFile` is the raw file: no buffer, a position, reads land in the caller's memory. `open_file`
puts the buffers of `io` over it, so that small reads and writes become few large ones.

    "rb"   read                       "r+b"  read and write, the content stays
    "wb"   write, cut to nothing      "w+b"  read and write, cut to nothing
    "ab"   write at the end           "a+b"  read, write at the end

What is written is durable after `flush()` or `close()`: each raw write is.

Source: ours; https://docs.python.org/3/library/io.html#io.RawIOBase
"""

from __future__ import annotations

import io
import os
from typing import Protocol

from daos.base.errors import InvalidError
from daos.client.memory import BufferLike, readable

MODES = frozenset({"rb", "r+b", "rb+", "wb", "w+b", "wb+", "ab", "a+b", "ab+"})


class ByteArray(Protocol):
    """What a file needs of an array."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, count: int, into: BufferLike, /) -> int: ...

    def write(self, offset: int, data: BufferLike, /) -> int: ...

    def resize(self, size: int, /) -> None: ...


class ArrayFile(io.RawIOBase):
    """The unbuffered file. Closing it leaves the array open."""

    def __init__(self, array: ByteArray, mode: str, name: str) -> None:
        super().__init__()
        self.name = name
        self.mode = mode
        self._array = array
        self._position = 0

    def readable(self) -> bool:
        return "r" in self.mode or "+" in self.mode

    def writable(self) -> bool:
        return self.mode != "rb"

    def seekable(self) -> bool:
        return True

    def readinto(self, into: BufferLike) -> int:
        """Read at the position; 0 at the end."""
        self._check(self.readable(), "reading")
        count = self._array.read(self._position, readable(into).nbytes, into)
        self._position += count
        return count

    def write(self, data: BufferLike) -> int:
        """Write at the position, or at the end where the mode says so."""
        self._check(self.writable(), "writing")
        if "a" in self.mode:
            self._position = self._array.size
        count = self._array.write(self._position, data)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position. Raises: InvalidError before the beginning."""
        self._check(True, "seeking")
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self._array.size
        elif whence != os.SEEK_SET:
            raise InvalidError(f"whence must be 0, 1 or 2, not {whence}")
        if offset < 0:
            raise InvalidError(f"position {offset} is before the beginning")
        self._position = offset
        return offset

    def tell(self) -> int:
        self._check(True, "telling")
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the array to `size`, or to the position; the position stays."""
        self._check(self.writable(), "writing")
        size = self._position if size is None else size
        self._array.resize(size)
        return size

    def _check(self, allowed: bool, what: str) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not allowed:
            raise io.UnsupportedOperation(f"{what} is not possible in mode {self.mode!r}")


def open_file(
    array: ByteArray, mode: str, *, buffering: int, name: str
) -> io.BufferedReader | io.BufferedWriter | io.BufferedRandom | ArrayFile:
    """A file over `array`. buffering: bytes, 0 for none. Raises: InvalidError (mode)."""
    if mode not in MODES:
        raise InvalidError(f"mode {mode!r} is none of {', '.join(sorted(MODES))}")
    if "w" in mode:
        array.resize(0)
    raw = ArrayFile(array, mode, name)
    if not buffering:
        return raw
    if "+" in mode:
        file: io.BufferedReader | io.BufferedWriter | io.BufferedRandom = io.BufferedRandom(
            raw, buffering
        )
    elif mode == "rb":
        return io.BufferedReader(raw, buffering)
    else:
        file = io.BufferedWriter(raw, buffering)
    if "a" in mode:
        file.seek(0, os.SEEK_END)
    return file
