"""Files over an array: against what `io` does over memory."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daos.base.errors import InvalidError
from daos.client.file import ArrayFile, BinaryFile, FileMode, open_binary, open_text

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Bytes:
    """An array of bytes in memory."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, offset: int, count: int, into: Buffer | None = None) -> int:
        part = self.content[offset : offset + count]
        assert into is not None
        memoryview(into)[: len(part)] = part
        return len(part)

    def write(self, offset: int, buffer: Buffer) -> int:
        data = bytes(buffer)
        self.content += bytes(max(0, offset - self.size))
        self.content[offset : offset + len(data)] = data
        return len(data)

    def append(self, buffer: Buffer) -> int:
        offset = self.size
        self.content += bytes(buffer)
        return offset

    def resize(self, size: int) -> None:
        self.content = self.content[:size] + bytes(max(0, size - self.size))


def raw_file(array: Bytes, mode: str) -> ArrayFile:
    return ArrayFile(array, FileMode.parse(mode), "x")


def open_file(array: Bytes, mode: str, *, buffering: int) -> BinaryFile:
    return open_binary(raw_file(array, mode), FileMode.parse(mode), buffering)


@pytest.mark.parametrize("buffering", [0, 1, 7, 8192])
def test_as_a_file_in_memory(buffering: int) -> None:
    rng, array = random.Random(buffering), Bytes(b"0123456789" * 10)
    model = io.BytesIO(bytes(array.content))
    with open_file(array, "r+b", buffering=buffering) as file:
        for _ in range(300):
            count = rng.randrange(40)
            match rng.randrange(5):
                case 0:
                    assert file.read(count) == model.read(count)
                case 1:
                    data = rng.randbytes(count)
                    assert file.write(data) == model.write(data)
                case 2:
                    where = rng.randrange(120)
                    assert file.seek(where) == model.seek(where)
                case 3:
                    assert file.seek(-5, io.SEEK_END) == model.seek(-5, io.SEEK_END)
                case 4:
                    where = max(model.tell(), 60)
                    assert file.truncate(where) == where
                    model.truncate(where)
                    missing = where - model.seek(0, io.SEEK_END)  # BytesIO does not extend
                    model.write(bytes(missing))
                    assert file.seek(where) == model.tell()
            assert file.tell() == model.tell()
    assert array.content[: len(model.getvalue())] == model.getvalue()


def test_modes() -> None:
    array = Bytes(b"content")
    expected = {
        "rb": io.BufferedReader,
        "r+b": io.BufferedRandom,
        "ab": io.BufferedWriter,
        "wb": io.BufferedWriter,
        "xb": io.BufferedWriter,
        "w+b": io.BufferedRandom,
    }
    for mode, kind in expected.items():
        with open_file(array, mode, buffering=10) as file:
            assert type(file) is kind
            assert file.tell() == (7 if mode == "ab" else 0)
    assert array.content == b"content"  # whoever opens the array cuts it


@pytest.mark.parametrize("mode", ["", "rw", "rbt", "b", "+", "rr", "z", "r b", "U", None, 3])
def test_modes_that_open_does_not_know(mode: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError)), open(tmp_path / "file", mode):
        pass
    with pytest.raises(InvalidError, match="mode"):
        FileMode.parse(mode)


@pytest.mark.parametrize("mode", ["r", "rb", "r+", "rb+", "w", "wb+", "x", "a", "ab+", "+ab"])
def test_modes_say_what_open_says(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if "x" not in mode:
        path.write_bytes(b"")
    with open(path, mode) as theirs:
        parsed = FileMode.parse(mode)
        assert parsed.readable == theirs.readable()
        assert parsed.writable == theirs.writable()
        assert parsed.binary == isinstance(theirs, io.BufferedIOBase)


def test_text() -> None:
    array = Bytes()
    mode = FileMode.parse("w+")
    with open_text(raw_file(array, "w+"), mode, -1, newline="\r\n") as file:
        assert file.mode == "w+"
        print("straße", file=file)
    assert array.content == "straße\r\n".encode()
    with open_text(raw_file(array, "r"), FileMode.parse("r"), 1, encoding="latin-1") as file:
        assert file.readlines() == ["straÃ\x9fe\n"]
        with pytest.raises(io.UnsupportedOperation):
            file.fileno()
    with pytest.raises(InvalidError, match="unbuffered"):
        open_text(raw_file(array, "r"), FileMode.parse("r"), 0)
    with pytest.raises(LookupError):
        open_text(raw_file(array, "r"), FileMode.parse("r"), -1, encoding="nothing")


def test_lines_are_written_as_they_end() -> None:
    array = Bytes()
    with open_text(raw_file(array, "a"), FileMode.parse("a"), 1) as file:
        file.write("half")
        assert array.content == b""
        file.write(" and half\n")
        assert array.content == b"half and half\n"


class Counting(Bytes):
    """Counts the reads."""

    reads = 0

    def read(self, offset: int, count: int, into: Buffer | None = None) -> int:
        self.reads += 1
        return super().read(offset, count, into)


@pytest.mark.parametrize("buffering", [0, 8192])
def test_all_of_a_file_is_one_read(buffering: int) -> None:
    array = Counting(bytes(range(256)) * 4096)
    with open_file(array, "rb", buffering=buffering) as file:
        assert file.read() == array.content
        assert array.reads == 1
        assert file.read() == b""
        file.seek(1 << 30)
        assert file.read() == b""


def test_appending_goes_to_the_end_whoever_wrote_it() -> None:
    array = Bytes(b"one")
    with open_file(array, "a+b", buffering=0) as file:
        file.seek(0)
        array.content += b"two"
        file.write(b"three")
        file.seek(0)
        assert file.read(100) == b"onetwothree"


def test_refusals() -> None:
    file = raw_file(Bytes(b"abc"), "rb")
    assert (file.name, file.mode, file.seekable()) == ("x", "rb", True)
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    with pytest.raises(io.UnsupportedOperation):
        file.truncate()
    with pytest.raises(InvalidError):
        file.seek(-4, io.SEEK_END)
    with pytest.raises(InvalidError, match="whence"):
        file.seek(0, 9)
    with pytest.raises(io.UnsupportedOperation):
        raw_file(Bytes(), "wb").readinto(bytearray(1))
    assert file.seek(1, io.SEEK_CUR) == file.seek(0, io.SEEK_CUR) == 1
    file.close()
    assert repr(file) == "<ArrayFile closed>"
    uses = (file.tell, lambda: file.seek(0), lambda: file.readinto(bytearray(1)), file.readable)
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()
