"""One value on its way in, or out: most updates and fetches, without the states of a descriptor.

Both do what `descriptor.py` does, for one NVMe value and nothing else, and leave the rest to it.

Source: ours; the descriptors of bio cost 5 to 9 us, of which a 4 KiB value needs a third.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from daos.base.checksum import ChecksumType, compute_slowly, xxh3
from daos.base.errors import AgainError, ChecksumError, DaosError
from daos.bio.descriptor import PayloadSink
from daos.bio.device import BLOCK, BlockDevice, Done, Write
from daos.bio.memory import AlignedPool, Buffer
from daos.bio.pieces import Stored, check_stored
from daos.bio.space import Extent

_XXH3: Final = ChecksumType.XXH3


class OneValue(msgspec.Struct, eq=False, gc=False):
    """What an `UpdateDescriptor` does, for one NVMe value: most updates are no more.

    Made PREPARED, and trusted: who posts it has the checksums of what landed.

    A large one may be sent to the device ahead of its transaction, which then tells of it, and
    whose group's flush makes it durable as any other. If there is no transaction, the bytes lie in
    blocks that are free again: who reserves them next writes behind this write.
    """

    destination: memoryview
    _extent: Extent
    _padded: memoryview
    _buffer: Buffer | None
    _sent: bool = False
    _leaving: bool = False  # the device reads the memory
    _ended: bool = False  # ... and gives it back
    _sum: int | None = None  # of what goes to the medium

    def send(self, device: BlockDevice) -> None:
        """The bytes are whole: write them now, beside what is left to do for their transaction.

        An error poisons the device; the transaction's group hears of it.
        """
        self._sent = self._leaving = True
        write = Write(self._extent.block * BLOCK, (self._padded,))
        device.submit_write((write,), flush=False, done=self._left)

    def _left(self, error: DaosError | None) -> None:
        del error
        self._leaving = False
        if self._ended:
            self._release()

    @staticmethod
    def prepare(pool: AlignedPool, nbytes: int, extent: Extent) -> OneValue:
        """Raises, Cost: as `UpdateDescriptor.prepare`."""
        size = extent.count * BLOCK
        assert 0 < nbytes <= size < nbytes + BLOCK, f"{nbytes} bytes in {extent}"
        buffer = pool.acquire(size)
        if buffer is None:
            raise AgainError(f"{size} bytes of aligned memory are not free now")
        padded = destination = buffer.view
        if nbytes < size:
            padded[nbytes:] = bytes(size - nbytes)
            destination = padded[:nbytes]
        return OneValue(destination, extent, padded, buffer)

    def post(self, tx: PayloadSink, checksum: int | None = None) -> None:
        """As `UpdateDescriptor.post`."""
        assert self._buffer is not None
        if checksum is None:
            checksum = xxh3(self._padded) if self._sum is None else self._sum
        if self._sent:
            tx.wrote(self._extent, checksum)
        else:
            tx.write(self._extent, (self._padded,), checksum)

    def summing(self) -> Iterator[None]:
        """As `UpdateDescriptor.summing`."""
        digest = yield from compute_slowly(_XXH3, self._padded)
        self._sum = int.from_bytes(digest, "little")

    def finish(self, error: DaosError | None = None) -> None:
        """Give the memory back; `error` makes it fit to be a `Done`, and does not matter here."""
        assert self._buffer is not None
        if self._leaving:
            self._ended = True
        else:
            self._release()

    def cancel(self) -> None:
        """Give everything back; idempotent. If it was posted, its transaction was dropped."""
        if self._buffer is not None:
            self.finish()

    def _release(self) -> None:
        assert self._buffer is not None
        self._buffer.release()
        self._buffer = None


class OneRead(msgspec.Struct, eq=False):
    """What a `FetchDescriptor` does, for one value that `read_now` did not find in the page cache.

    `buffer` is the device's until the end is told, then the caller's, who takes it out.
    """

    buffer: Buffer | None
    _device: BlockDevice
    _piece: Stored
    _offset: int
    _done: Done | None = None

    def read(self, done: Done) -> None:
        """Read and verify. Done: later, as `FetchDescriptor.read`."""
        assert self.buffer is not None
        self._done = done
        self._device.submit_read(self._offset, self.buffer.view, self._landed)

    def cancel(self) -> None:
        """Nobody wants it any more; idempotent. The memory goes back when the device is through."""
        if self._done is None:
            self._release()
        self._done = _nobody

    def _landed(self, error: DaosError | None) -> None:
        done, self._done = self._done, None
        assert done is not None
        assert self.buffer is not None
        if error is None and done is not _nobody:
            try:
                check_stored(self._device.name, self._piece, 0, _value(self.buffer, self._piece))
            except ChecksumError as damage:
                error = damage
        if error is not None or done is _nobody:
            self._release()
        done(error)

    def _release(self) -> None:
        if self.buffer is not None:
            self.buffer.release()
            self.buffer = None


def _nobody(_error: DaosError | None) -> None:
    """Whoever waited has gone."""


def _value(buffer: Buffer, piece: Stored) -> memoryview:
    """The value at the front of a buffer."""
    view, nbytes = buffer.view, piece.nbytes
    return view if view.nbytes == nbytes else view[:nbytes]


def read_now(device: BlockDevice, pool: AlignedPool, piece: Stored) -> Buffer | OneRead | None:
    """A whole value of one chunk, read and verified, if it is in the page cache: most small reads.

    If it is not, it has been begun, and the `OneRead` is to be asked for it. None, and nothing is
    promised: it is something else, or there is no memory now; a `FetchDescriptor` does it all. The
    value stands at the front of the buffer.

    Raises:     CorruptError, ChecksumError, NvmeIoError, ShutdownError, as the descriptor
    Cost:       3.3 us, 1.3 of them the system's; a descriptor takes 9
    """
    nbytes = piece.nbytes
    if piece.csum_type is not _XXH3 or not 0 < piece.value_nbytes == nbytes <= piece.csum_chunk:
        return None
    block, count = piece.blocks
    size = -(-nbytes // BLOCK) * BLOCK
    offset = block * BLOCK
    if count * BLOCK < size or len(piece.csums) != 8 or not 0 <= offset <= device.size_bytes - size:
        return None
    buffer = pool.acquire(size)
    if buffer is None:
        return None
    try:
        if not device.read_nowait(offset, buffer.view):
            return OneRead(buffer, device, piece, offset)
        check_stored(device.name, piece, 0, buffer.view if size == nbytes else buffer.view[:nbytes])
    except DaosError:
        buffer.release()
        raise
    return buffer
