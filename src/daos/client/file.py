"""An array of bytes as a file object of `io`.

`ArrayFile` is the raw file: no buffer, a position, reads land in the caller's memory. `open_file`
puts the buffers and the text of `io` over it, so that small reads and writes become few large ones.

    "r"   read                       "r+"  read and write, the content stays
    "w"   write, cut to nothing      "w+"  read and write, cut to nothing
    "x"   write, a new file          "x+"  read and write, a new file
    "a"   write at the end           "a+"  read, write at the end
    with "b" bytes, else text

What is written is durable after `flush()` or `close()`: each raw write is. With "a" each raw write
is one `append` of the array: of several writers none writes over another.

Source: ours; https://docs.python.org/3/library/functions.html#open
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from daos.base.errors import InvalidError
from daos.client.memory import BufferLike, new_bytes, readable

BUFFER_BYTES: Final = 1 << 20  # a chunk of the default size: one request

BinaryFile: TypeAlias = (
    "io.BufferedReader | io.BufferedWriter | io.BufferedRandom | ArrayFile"  # the last: unbuffered
)


class ByteArray(Protocol):
    """What a file needs of an array."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, count: int, into: BufferLike, /) -> int: ...

    def write(self, offset: int, data: BufferLike, /) -> int: ...

    def append(self, data: BufferLike, /) -> int: ...

    def resize(self, size: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class FileMode:
    """What the mode of `open` says."""

    kind: str  # "r", "w", "x" or "a"
    update: bool  # "+"
    binary: bool

    @classmethod
    def parse(cls, mode: str) -> FileMode:
        """Raises: InvalidError, with the texts of `open`."""
        if not isinstance(mode, str) or set(mode) - set("rwxabt+") or len(mode) > len(set(mode)):
            raise InvalidError(f"invalid mode: {mode!r}")
        if "b" in mode and "t" in mode:
            raise InvalidError("can't have text and binary mode at once")
        kinds = [kind for kind in "rwxa" if kind in mode]
        if len(kinds) != 1:
            raise InvalidError("must have exactly one of create/read/write/append mode")
        return cls(kinds[0], "+" in mode, "b" in mode)

    @property
    def readable(self) -> bool:
        """Whether the file may be read."""
        return self.update or self.kind == "r"

    @property
    def writable(self) -> bool:
        """Whether the file may be written."""
        return self.update or self.kind != "r"

    @property
    def appends(self) -> bool:
        """Whether all is written at the end."""
        return self.kind == "a"

    def __str__(self) -> str:
        return f"{self.kind}b{'+' * self.update}"


class ArrayFile(io.RawIOBase):
    """The unbuffered file. Closing it leaves the array open."""

    def __init__(self, array: ByteArray, mode: FileMode, name: str | bytes) -> None:
        super().__init__()
        self.name = name
        self.mode = str(mode)
        self._mode = mode
        self._array = array
        self._position = array.size if mode.appends else 0

    def readable(self) -> bool:
        self._check(True, "")
        return self._mode.readable

    def writable(self) -> bool:
        self._check(True, "")
        return self._mode.writable

    def seekable(self) -> bool:
        self._check(True, "")
        return True

    def readinto(self, into: BufferLike) -> int:
        """Read at the position; 0 at the end."""
        self._check(self._mode.readable, "not readable")
        count = self._array.read(self._position, readable(into).nbytes, into)
        self._position += count
        return count

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes at the position, without a copy; all that follow without it."""
        if size is None or size < 0:
            return self.readall()
        self._check(self._mode.readable, "not readable")
        result, view = new_bytes(size)
        count = self.readinto(view)
        return result if count == size else result[:count]

    def readall(self) -> bytes:
        """All bytes from the position to the end: the size is asked, then they are read at once."""
        self._check(self._mode.readable, "not readable")
        return self.read(max(0, self._array.size - self._position))

    def write(self, data: BufferLike) -> int:
        """Write at the position, or at the end where the mode says so."""
        self._check(self._mode.writable, "not writable")
        count = readable(data).nbytes
        if self._mode.appends:
            self._position = self._array.append(data)
        else:
            self._array.write(self._position, data)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position. Raises: InvalidError before the beginning."""
        self._check(True, "")
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
        self._check(True, "")
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the array to `size`, or to the position; the position stays."""
        self._check(self._mode.writable, "not writable")
        size = self._position if size is None else size
        self._array.resize(size)
        return size

    def _check(self, allowed: bool, what: str) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not allowed:
            raise io.UnsupportedOperation(what)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"name={self.name!r} mode={self.mode!r}"
        return f"<{type(self).__name__} {state}>"


def open_binary(raw: ArrayFile, mode: FileMode, buffering: int) -> BinaryFile:
    """A file of bytes over `raw`. buffering: bytes, 0 for none, -1 for `BUFFER_BYTES`."""
    if not buffering:
        return raw
    size = BUFFER_BYTES if buffering < 0 else buffering
    if mode.update:
        return io.BufferedRandom(raw, size)
    return io.BufferedReader(raw, size) if mode.kind == "r" else io.BufferedWriter(raw, size)


def open_text(
    raw: ArrayFile,
    mode: FileMode,
    buffering: int,
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> io.TextIOWrapper:
    """A file of text over `raw`; UTF-8 where no encoding is named. buffering 1: by lines.

    Raises: InvalidError (no buffer), LookupError (encoding, errors)
    """
    if not buffering:
        raise InvalidError("can't have unbuffered text I/O")
    lines = buffering == 1
    binary = open_binary(raw, mode, -1 if lines else buffering)
    assert not isinstance(binary, ArrayFile)
    text = io.TextIOWrapper(binary, encoding or "utf-8", errors, newline, line_buffering=lines)
    text.mode = str(mode).replace("b", "")  # type: ignore[misc]  # it says what `open` was given
    return text
