"""CRCs of ISA-L, called through ctypes: 30 GB/s where pure Python makes 0.01.

The library is looked for when the first CRC is asked for, never at import:

    1. beside pyeclib, whose wheels bring it along (pyeclib.libs/libisal-pyeclib.so.2)
    2. libisal.so.2 of the system

A buffer is handed over as a pointer into its memory: nothing is copied, and it may be read-only,
memory-mapped or a slice. What this costs per call decided the form:

    bytes                    ctypes takes the object itself                              0.1 µs
    other buffers            the pointer is read out of the memoryview object            0.3 µs
    same, where the probe    PyObject_GetBuffer, PyBuffer_Release                        1.2 µs
      at load time failed

Below 64 KiB the interpreter lock is kept. Letting go of it for a microsecond invites every other
thread to take it, and it comes back after a switch interval, 5 ms later.

Conventions of the three functions, as in the C library: `initial` continues an earlier result, so
f(b, f(a)) == f(a + b).

    crc16_t10dif       width 16, polynomial 0x8BB7, not reflected, no inversion
    crc32_iscsi        width 32, polynomial 0x1EDC6F41, reflected, no inversion inside: the usual
                       CRC-32C is crc32_iscsi(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    crc64_ecma_refl    width 64, polynomial 0x42F0E1EBA9EA3693, reflected, inverted before and
                       after: with initial 0 it is the usual CRC-64/XZ

Source: isa-l include/crc.h, include/crc64.h; DAOS src/common/multihash_isal.c calls the same
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from daos.base.errors import InvalidError, NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec

    from typing_extensions import Buffer

SYSTEM_NAME: Final = "libisal.so.2"
KEEP_LOCK_BELOW: Final = 64 << 10  # bytes; 2 µs of work

CRC32_PIECE: Final = 1 << 30  # crc32_iscsi counts bytes in an int

_BUF_OFFSET: Final = 56  # PyMemoryViewObject.view.buf, CPython 3.11 to 3.14, 64 bit

Pointer: TypeAlias = bytes | int  # bytes stand for their own memory


class Isal:
    """The three CRCs. Get it from `load`."""

    __slots__ = ("_brief", "_long", "path")

    def __init__(self, path: str) -> None:
        """Raises: OSError if the library cannot be loaded, AttributeError if it lacks a CRC."""
        self.path = path
        self._brief = _bind(ctypes.PyDLL(path))
        self._long = _bind(ctypes.CDLL(path))

    def crc16_t10dif(self, buffer: Buffer, initial: int = 0) -> int:
        """CRC-16/T10-DIF. Raises: InvalidError if the buffer is not contiguous."""
        _keep, pointer, nbytes = _locate(buffer)
        functions = self._brief if nbytes < KEEP_LOCK_BELOW else self._long
        return functions.crc16(initial, pointer, nbytes)

    def crc32_iscsi(self, buffer: Buffer, initial: int = 0) -> int:
        """CRC-32C without inversion. Raises: InvalidError if the buffer is not contiguous."""
        _keep, pointer, nbytes = _locate(buffer)
        if nbytes > CRC32_PIECE:
            return self._crc32_pieces(memoryview(buffer).cast("B"), initial)
        functions = self._brief if nbytes < KEEP_LOCK_BELOW else self._long
        return functions.crc32(pointer, nbytes, initial)

    def crc64_ecma_refl(self, buffer: Buffer, initial: int = 0) -> int:
        """CRC-64/XZ. Raises: InvalidError if the buffer is not contiguous."""
        _keep, pointer, nbytes = _locate(buffer)
        functions = self._brief if nbytes < KEEP_LOCK_BELOW else self._long
        return functions.crc64(initial, pointer, nbytes)

    def _crc32_pieces(self, view: memoryview, crc: int) -> int:
        for lo in range(0, len(view), CRC32_PIECE):
            crc = self.crc32_iscsi(view[lo : lo + CRC32_PIECE], crc)
        return crc


class _Functions(NamedTuple):
    crc16: Callable[[int, Pointer, int], int]  # initial, buffer, nbytes
    crc32: Callable[[Pointer, int, int], int]  # buffer, nbytes, initial
    crc64: Callable[[int, Pointer, int], int]  # initial, buffer, nbytes


def _bind(library: ctypes.CDLL) -> _Functions:
    crc16 = library.crc16_t10dif
    crc16.argtypes = [ctypes.c_uint16, ctypes.c_void_p, ctypes.c_uint64]
    crc16.restype = ctypes.c_uint16
    crc32 = library.crc32_iscsi
    crc32.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    crc32.restype = ctypes.c_uint32
    crc64 = library.crc64_ecma_refl
    crc64.argtypes = [ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64]
    crc64.restype = ctypes.c_uint64
    return _Functions(crc16, crc32, crc64)


def candidates(spec: ModuleSpec | None) -> list[str]:
    """Where to look for the library, best first; `spec` is pyeclib's, None if not installed."""
    paths: list[str] = []
    for folder in (spec and spec.submodule_search_locations) or ():
        bundled = Path(folder).with_name("pyeclib.libs")
        paths += sorted(str(path) for path in bundled.glob("libisal*.so*"))
    return [*paths, SYSTEM_NAME]


def load_first(names: Sequence[str]) -> Isal:
    """The first of `names` that loads.

    Raises:     NotSupportedError   none does; the text has the reason for each
    """
    failures: list[str] = []
    for name in names:
        try:
            return Isal(name)
        except (OSError, AttributeError) as error:
            failures.append(f"{name} ({error})")
    raise NotSupportedError(
        "CRC checksums need ISA-L, from pyeclib's wheel (pip install pyeclib) or the system "
        f"(apt install libisal2); tried {', '.join(failures)}"
    )


@functools.cache
def load() -> Isal:
    """ISA-L, loaded once per process. Raises: NotSupportedError if there is none."""
    return load_first(candidates(importlib.util.find_spec("pyeclib")))


def _locate(buffer: Buffer) -> tuple[object, Pointer, int]:
    """What keeps the memory in place, the pointer for ctypes, the number of bytes."""
    if type(buffer) is bytes:
        return buffer, buffer, len(buffer)
    try:
        view = memoryview(buffer)  # our own: nobody else can release it while C reads
    except TypeError as error:
        raise InvalidError(f"checksum of something that is not a buffer: {error}") from None
    if not view.c_contiguous:
        raise InvalidError("checksum of a buffer that is not contiguous: copy it first")
    return view, address_of(view), view.nbytes


def _address_from_object(view: memoryview) -> int:
    address: int = ctypes.c_size_t.from_address(id(view) + _BUF_OFFSET).value
    return address


class _PyBuffer(ctypes.Structure):
    _fields_ = (("buf", ctypes.c_size_t), ("rest", ctypes.c_size_t * 11))


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.c_void_p]
_release_buffer.restype = None


def _address_from_protocol(view: memoryview) -> int:
    answer = _PyBuffer()
    reference = ctypes.byref(answer)
    _get_buffer(view, reference, 0)
    _release_buffer(reference)
    address: int = answer.buf
    return address


def _choose_address() -> Callable[[memoryview], int]:
    """Read pointers out of memoryview objects only where that gives what the protocol gives."""
    if sys.implementation.name != "cpython" or memoryview.__basicsize__ < _BUF_OFFSET + 8:
        return _address_from_protocol
    probe = memoryview(bytes(256))
    for view in (probe, probe[7:], probe[13:200], memoryview(bytearray(64))[1:]):
        if _address_from_object(view) != _address_from_protocol(view):
            return _address_from_protocol
    return _address_from_object


address_of: Final = _choose_address()  # where the bytes of a contiguous view are
