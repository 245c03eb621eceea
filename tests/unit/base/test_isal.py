"""ISA-L through ctypes: known values, slow oracles, every kind of buffer, absence."""

from __future__ import annotations

import array
import ctypes
import gc
import importlib.util
import mmap
import subprocess
import sys
import tracemalloc
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base import isal
from daos.base.errors import InvalidError, NotSupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Buffer

CHECK = b"123456789"
U32 = 0xFFFF_FFFF


def crc(data: bytes, *, width: int, polynomial: int, register: int, reflect: bool) -> int:
    """The textbook: one bit at a time, most significant first."""
    for byte in data:
        bits = int(f"{byte:08b}"[::-1], 2) if reflect else byte
        register ^= bits << (width - 8)
        for _ in range(8):
            register <<= 1
            if register >> width:
                register ^= 1 << width | polynomial
    return int(f"{register:0{width}b}"[::-1], 2) if reflect else register


def crc16(data: bytes) -> int:
    return crc(data, width=16, polynomial=0x8BB7, register=0, reflect=False)


def crc32(data: bytes) -> int:
    return crc(data, width=32, polynomial=0x1EDC6F41, register=0, reflect=True)


def crc64(data: bytes) -> int:
    ones = 2**64 - 1
    return ones ^ crc(data, width=64, polynomial=0x42F0E1EBA9EA3693, register=ones, reflect=True)


def test_known_values() -> None:
    library = isal.load()
    assert library.crc16_t10dif(CHECK) == 0xD0DB
    assert library.crc32_iscsi(CHECK, U32) ^ U32 == 0xE3069283
    assert library.crc32_iscsi(CHECK) == 0x58E3FA20
    assert library.crc64_ecma_refl(CHECK) == 0x995DC9BBDF1939FA


@given(st.binary(max_size=600), st.integers(0, 40))
def test_against_the_textbook(data: bytes, offset: int) -> None:
    library = isal.load()
    part = memoryview(data)[offset:]
    assert library.crc16_t10dif(part) == crc16(data[offset:])
    assert library.crc32_iscsi(part) == crc32(data[offset:])
    assert library.crc64_ecma_refl(part) == crc64(data[offset:])


@given(st.binary(max_size=300), st.integers(0, 300))
def test_continues(data: bytes, cut: int) -> None:
    library = isal.load()
    one, two = data[:cut], data[cut:]
    for function in (library.crc16_t10dif, library.crc32_iscsi, library.crc64_ecma_refl):
        assert function(two, function(one)) == function(data)


def test_long_buffers_take_the_other_path() -> None:
    data = bytes(range(251)) * 300
    assert len(data) > isal.KEEP_LOCK_BELOW
    library = isal.load()
    for function in (library.crc16_t10dif, library.crc32_iscsi, library.crc64_ecma_refl):
        assert function(memoryview(data)) == function(data[1000:], function(data[:1000]))


def test_beyond_the_int_of_crc32(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 10
    want = isal.load().crc32_iscsi(data, 7)
    monkeypatch.setattr(isal, "CRC32_PIECE", 1000)
    assert isal.load().crc32_iscsi(array.array("I", data), 7) == want


def buffers(tmp_path: Path) -> dict[str, Buffer]:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096) + CHECK + bytes(4096))
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    anonymous = mmap.mmap(-1, 8192)
    anonymous[4090:4099] = CHECK
    return {
        "bytes": CHECK,
        "bytearray": bytearray(CHECK),
        "bytes slice": memoryview(b"xyz" + CHECK + b"z")[3:12],
        "writable slice": memoryview(bytearray(b"x" + CHECK))[1:],
        "read-only file map": memoryview(mapped)[4096 : 4096 + 9],
        "anonymous map": memoryview(anonymous)[4090:4099],
        "read-only of it": memoryview(anonymous)[4090:4099].toreadonly(),
        "array": array.array("B", CHECK),
        "wide items": memoryview(CHECK + b"x").cast("H")[:4],
        "matrix": memoryview(CHECK).cast("B", (3, 3)),
        "ctypes": (ctypes.c_uint8 * 9)(*CHECK),
    }


@pytest.mark.parametrize("choice", ["_address_from_object", "_address_from_protocol"])
def test_every_kind_of_buffer(choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isal, "address_of", getattr(isal, choice))
    for name, buffer in buffers(tmp_path).items():
        want = crc64(bytes(buffer))
        assert isal.load().crc64_ecma_refl(buffer) == want, name


def test_the_fast_way_to_a_pointer_is_in_use_here() -> None:
    assert isal._choose_address() is isal._address_from_object


def test_a_probe_that_differs_chooses_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isal, "_BUF_OFFSET", isal._BUF_OFFSET + 8)
    assert isal._choose_address() is isal._address_from_protocol
    monkeypatch.setattr(isal, "_BUF_OFFSET", memoryview.__basicsize__)
    assert isal._choose_address() is isal._address_from_protocol


def test_empty() -> None:
    library = isal.load()
    for buffer in (b"", bytearray(), memoryview(b"abc")[3:]):
        assert library.crc16_t10dif(buffer, 5) == 5
        assert library.crc32_iscsi(buffer, 5) == 5
        assert library.crc64_ecma_refl(buffer, 5) == 5


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_what_is_no_flat_buffer(size: int) -> None:
    library = isal.load()
    for function in (library.crc16_t10dif, library.crc32_iscsi, library.crc64_ecma_refl):
        with pytest.raises(InvalidError, match="not contiguous"):
            function(memoryview(bytes(size))[::2])
        with pytest.raises(InvalidError, match="not contiguous"):
            function(memoryview(bytes(size))[::-1])
        with pytest.raises(InvalidError, match="not a buffer"):
            function("text")  # type: ignore[arg-type]


def test_nothing_is_copied_and_nothing_is_kept() -> None:
    library = isal.load()
    data = bytearray(8 << 20)
    view = memoryview(data).toreadonly()
    library.crc32_iscsi(view)
    gc.collect()
    tracemalloc.start()
    try:
        library.crc16_t10dif(view)
        library.crc32_iscsi(view)
        library.crc64_ecma_refl(view)
        _, peak_nbytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_nbytes < 64 << 10
    view.release()
    data.append(0)  # raises BufferError if an export were left


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    bundled = tmp_path / "pyeclib.libs"
    bundled.mkdir()
    (bundled / "libisal-0a1b.so.2.0.31").touch()
    (bundled / "liberasurecode-2c.so.1").touch()
    spec = ModuleSpec("pyeclib", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "pyeclib")]
    assert isal.candidates(spec) == [str(bundled / "libisal-0a1b.so.2.0.31"), "libisal.so.2"]
    assert isal.candidates(ModuleSpec("pyeclib", None)) == ["libisal.so.2"]
    assert isal.candidates(None) == ["libisal.so.2"]


def test_without_it_the_error_names_both_ways(tmp_path: Path) -> None:
    junk = tmp_path / "libisal-junk.so.2"
    junk.write_bytes(b"not a library")
    with pytest.raises(NotSupportedError) as caught:
        isal.load_first([str(junk), "libisal-missing.so.2"])
    for text in ("pip install pyeclib", "apt install libisal2", str(junk), "libisal-missing"):
        assert text in caught.value.message


def test_the_next_candidate_is_tried() -> None:
    found = isal.load().path
    assert isal.load_first(["libisal-missing.so.2", "libc.so.6", found]).path == found


def test_importing_loads_neither_the_library_nor_pyeclib() -> None:
    code = (
        "import sys; from daos.base import checksum, isal;"
        "assert 'pyeclib' not in sys.modules;"
        "maps = lambda: open('/proc/self/maps').read(); assert 'libisal' not in maps();"
        "isal.load(); assert 'libisal' in maps(); assert 'pyeclib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert importlib.util.find_spec("pyeclib") is not None
