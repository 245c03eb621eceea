"""Opening what a FileDevice reads and writes, and what O_DIRECT asks of memory.

Whether a file system takes O_DIRECT, and at which alignment, is found out by trying: one read of
the first block when the device is opened.

Source: ours; statx(STATX_DIOALIGN) would tell, but Python does not pass it on.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import (
    AccessError,
    DaosError,
    InvalidError,
    NoSpaceError,
    NotFoundError,
    NvmeIoError,
)
from daos.bio.device import BLOCK
from daos.bio.memory import address_of

# What O_DIRECT may ask of addresses and lengths: a sector of the disk. The first that works wins.
ALIGNMENTS: Final = (512, BLOCK)


class Descriptors(NamedTuple):
    main: int  # O_DIRECT where possible; the only one that writes
    cached: int
    size_bytes: int
    alignment: int  # of memory and lengths; 1: `main` is buffered
    unwritten: bool  # it is a file, and some of its blocks were allocated only

    def close(self) -> None:
        os.close(self.main)
        os.close(self.cached)


def open_descriptors(path: Path, *, direct: bool) -> Descriptors:
    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise InvalidError(f"{path} is neither a file nor a block device")
        main, alignment = _open_main(path, direct=direct)
        try:
            size_bytes = os.lseek(main, 0, os.SEEK_END) // BLOCK * BLOCK
            if size_bytes == 0:
                raise InvalidError(f"{path} is smaller than a block of {BLOCK} bytes")
            if alignment == 1:
                # A write-back that failed in an earlier life left pages that look clean and are
                # not on the medium: whoever recovers must see what is.
                os.posix_fadvise(main, 0, 0, os.POSIX_FADV_DONTNEED)
            cached = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(main)
            raise
    except InvalidError:
        raise
    except OSError as err:
        raise error_from_os(err, f"open {path}") from err
    # Values lie where they were written, not in the order they are read: no read-ahead.
    os.posix_fadvise(cached, 0, 0, os.POSIX_FADV_RANDOM)
    # By the page cache a first write costs no more than another: the flush writes it out.
    unwritten = alignment > 1 and stat.S_ISREG(mode) and _has_holes(main, size_bytes)
    return Descriptors(main, cached, size_bytes, alignment, unwritten)


def _has_holes(descriptor: int, size_bytes: int) -> bool:
    """Whether a file has blocks that were never written; False where the system can't tell."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_HOLE) < size_bytes
    except OSError:
        return False


def _open_main(path: Path, *, direct: bool) -> tuple[int, int]:
    if direct:
        try:
            main = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
        except OSError as err:
            if err.errno != errno.EINVAL:  # EINVAL: this file system knows no O_DIRECT
                raise
        else:
            alignment = _probe_alignment(main)
            if alignment is not None:
                return main, alignment
            os.close(main)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC), 1


def _probe_alignment(descriptor: int) -> int | None:
    """The least of ALIGNMENTS that a direct read accepts, for addresses and lengths alike."""
    memory = memoryview(mmap.mmap(-1, 4 * BLOCK))
    for align in ALIGNMENTS:
        views = [memory[align : 2 * align], memory[3 * align : 2 * align + BLOCK]]
        try:
            os.preadv(descriptor, [view for view in views if view], 0)
        except OSError as err:
            if err.errno != errno.EINVAL:
                os.close(descriptor)
                raise
        else:
            return align
    return None


def is_aligned(view: memoryview, align: int) -> bool:
    """Whether the device takes this buffer as it is."""
    if align == 1:
        return True
    # The address of a read-only buffer cannot be had; such a one is never page memory anyway.
    return view.nbytes % align == 0 and not view.readonly and address_of(view) % align == 0


def error_from_os(err: OSError, what: str) -> DaosError:
    """The exception of our tree for an error of the system."""
    text = f"{what}: {err.strerror} (errno {err.errno})"
    match err.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return NoSpaceError(text)
        case errno.ENOENT:
            return NotFoundError(text)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessError(text)
        case _:
            return NvmeIoError(text)
