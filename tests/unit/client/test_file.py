"""Files over an array: against what `io` does over memory."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import pytest

from daos.base.errors import InvalidError
from daos.client.file import ArrayFile, open_file

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

    def resize(self, size: int) -> None:
        self.content = self.content[:size] + bytes(max(0, size - self.size))


@pytest.mark.parametrize("buffering", [0, 1, 7, 8192])
def test_as_a_file_in_memory(buffering: int) -> None:
    rng, array = random.Random(buffering), Bytes(b"0123456789" * 10)
    model = io.BytesIO(bytes(array.content))
    with open_file(array, "r+b", buffering=buffering, name="x") as file:
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
    }
    for mode, kind in expected.items():
        with open_file(array, mode, buffering=10, name="x") as file:
            assert type(file) is kind
            assert file.tell() == (7 if mode == "ab" else 0)
    assert array.content == b""
    for mode in ("r", "w", "rw", "", "rt", "xb"):
        with pytest.raises(InvalidError, match="mode"):
            open_file(array, mode, buffering=10, name="x")


def test_appending_goes_to_the_end_whoever_wrote_it() -> None:
    array = Bytes(b"one")
    with open_file(array, "a+b", buffering=0, name="x") as file:
        file.seek(0)
        array.content += b"two"
        file.write(b"three")
        file.seek(0)
        assert file.read(100) == b"onetwothree"


def test_refusals() -> None:
    file = ArrayFile(Bytes(b"abc"), "rb", "x")
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
        ArrayFile(Bytes(), "wb", "x").readinto(bytearray(1))
    assert file.seek(1, io.SEEK_CUR) == file.seek(0, io.SEEK_CUR) == 1
    file.close()
    for use in (file.tell, lambda: file.seek(0), lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            use()
