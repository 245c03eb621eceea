"""Memory of callers and of results: views without copies, `bytes` that replies land in.

What a caller hands in may be anything with the buffer protocol, C-contiguous: bytes, bytearray,
memoryview, mmap, array.array, numpy arrays of any type. It is used where it lies.

What a call hands out is `bytes`: hashable, immutable, what a Python person compares with. A payload
lands in the very memory of that object, before anybody else has seen it. The C API allows exactly
this: "the data must not be modified in any way, unless the object was just created using
PyBytes_FromStringAndSize(NULL, size)". Costs 1 µs; building `bytes` from a bytearray costs a second
copy and its page faults, 150 µs for 1 MiB. Memory made so is not zero: whoever lands a reply there
fills what the reply leaves out (`zero`).

Source: ours; https://docs.python.org/3/c-api/bytes.html
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import re
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

from daos.base.errors import InvalidError, RecordTooBigError
from daos.base.isal import address_of

if TYPE_CHECKING:
    from typing_extensions import Buffer as _Buffer

    from daos.cart.shared import SharedMemory

    class _Array(Protocol):
        """Arrays of numpy: under Python 3.11 its stubs don't tell that they are buffers."""

        @property
        def __array_interface__(self) -> dict[str, Any]: ...  # numpy's own type for it

    BufferLike: TypeAlias = _Buffer | _Array
else:
    BufferLike = object  # for type checkers only

_ZEROS: Final = bytes(64 << 10)
_NAMES: Final = re.compile(":[^:]*:")  # of fields, in the format of a structure
_READ_WRITE: Final = 0x200  # PyBUF_WRITE

_api = ctypes.pythonapi
_new_bytes = cast(
    "Callable[[None, int], bytes]",
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
        ("PyBytes_FromStringAndSize", _api)
    ),
)
_address_of = cast(
    "Callable[[bytes], int]",
    ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyBytes_AsString", _api)),
)
_view_of = cast(
    "Callable[[int, int, int], memoryview]",
    ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
        ("PyMemoryView_FromMemory", _api)
    ),
)


class Buffer(mmap.mmap):
    """Page-aligned memory, zero at first, registered with its client: a memfd that can't shrink.

    A target on this host maps it once and then reads and writes it in place, while a call lasts and
    not after. One that kept memory beyond that loses the mapping: from then on this buffer's bytes
    go over the socket, and a new one is faster. Itself a buffer:
    `np.frombuffer(buffer, "f4")`, `torch.frombuffer(...)`, slices, `into=`; what wraps it counts as
    it. Made by `client.buffer(nbytes)`. Lives as long as anything refers to it; `close` gives it
    back earlier, if nothing does. A child of a fork shares it.
    """

    _shared: SharedMemory | None = None
    _region_id: int = 0

    def __new__(cls, nbytes: int, shared: SharedMemory | None = None) -> Buffer:
        """Raises: InvalidError for less than one byte; MemoryError."""
        if not hasattr(nbytes, "__index__") or nbytes < 1:
            raise InvalidError(f"a buffer has a whole number of bytes, 1 or more, not {nbytes!r}")
        try:
            fd = os.memfd_create("daos-buffer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                os.ftruncate(fd, nbytes)
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
                self = super().__new__(cls, fd, nbytes)
                if shared is not None:
                    region_id = shared.add(address_of(memoryview(self)), nbytes, fd)
                    self._shared, self._region_id = shared, region_id
                    weakref.finalize(self, shared.remove, region_id).atexit = False
            finally:
                os.close(fd)
        except (OSError, OverflowError) as error:
            raise MemoryError(f"no memory for a buffer of {nbytes} bytes") from error
        return self

    def close(self) -> None:
        """Give the memory back now. Raises: BufferError if something refers to it still."""
        shared = self._shared
        # Before it is unmapped: what is mapped next may get its address, and is nobody's to share.
        area = None if shared is None else shared.take_out(self._region_id)
        try:
            super().close()
        except BufferError:
            if shared is not None and area is not None:
                shared.put_back(area)
            raise
        if shared is not None and area is not None:
            shared.forget(area)

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return len(self)

    @property
    def view(self) -> memoryview:
        """All of it, writable; slices of it are taken wherever buffers are."""
        return memoryview(self)

    def __repr__(self) -> str:
        return f"<Buffer of {len(self)} bytes>" if not self.closed else "<Buffer, closed>"


def readable(data: BufferLike) -> memoryview:
    """The bytes of `data`, flat, where they lie.

    Raises: InvalidError  no buffer, not C-contiguous, references to Python objects
    """
    try:
        view = memoryview(cast("bytes", data))  # or any other buffer
    except (TypeError, ValueError) as error:
        if isinstance(data, Buffer) and data.closed:
            raise InvalidError("the buffer is closed") from error
        raise InvalidError(
            f"expected bytes, an array or another buffer, got {type(data).__name__}"
        ) from error
    if view.ndim == 1 and view.format == "B" and view.contiguous:
        return view
    if not view.c_contiguous:
        raise InvalidError("the buffer is not C-contiguous; copy it into one that is")
    if "O" in _NAMES.sub("", view.format):  # addresses: no content, and deadly to read back
        raise InvalidError("an array of Python objects can't be stored; give it a type of numbers")
    if not view.nbytes:
        return memoryview(b"")
    return view.cast("B")


def writable(into: BufferLike) -> memoryview:
    """As `readable`, of memory that may be written to. Raises: InvalidError."""
    view = readable(into)
    if view.readonly and view.nbytes:
        raise InvalidError(f"`into` must be writable memory, got {type(into).__name__}")
    return view


def new_bytes(nbytes: int) -> tuple[bytes, memoryview]:
    """A new bytes object and the only way to fill it; keep the object while the view is used.

    Units: the content is undefined until written
    """
    if not nbytes:
        return b"", memoryview(bytearray())
    fresh = _new_bytes(None, nbytes)
    return fresh, _view_of(_address_of(fresh), nbytes, _READ_WRITE)


def zero(view: memoryview, lo: int, hi: int) -> None:
    """Fill bytes [lo, hi) with zeros. Cost: 64 KiB at a time, no allocation."""
    while lo < hi:
        end = min(hi, lo + len(_ZEROS))
        view[lo:end] = _ZEROS[: end - lo]
        lo = end


def check_fits(nbytes: int, view: memoryview, what: str) -> None:
    """Raises: RecordTooBigError, saying both sizes."""
    if nbytes > view.nbytes:
        raise RecordTooBigError(f"{what} has {nbytes} bytes; the buffer takes {view.nbytes}")
