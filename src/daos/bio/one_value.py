"""One value on its way in, or out: most updates and fetches, without the states of a descriptor.

Both do what `descriptor.py` does, for one NVMe value and nothing else, and leave the rest to it.

Source: ours; the descriptors of bio cost 5 to 9 us, of which a 4 KiB value needs a third.
"""

from __future__ import annotations

from typing import Final

import msgspec

from daos.base.checksum import ChecksumType, xxh3
from daos.base.errors import AgainError, DaosError
from daos.bio.descriptor import PayloadSink
from daos.bio.device import BLOCK, BlockDevice, Write
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
        checksum = xxh3(self._padded) if checksum is None else checksum
        if self._sent:
            tx.wrote(self._extent, checksum)
        else:
            tx.write(self._extent, (self._padded,), checksum)

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


def read_now(device: BlockDevice, pool: AlignedPool, piece: Stored) -> Buffer | None:
    """A whole value of one chunk, read and verified, if it is in the page cache: most small reads.

    None, and nothing is promised: it is something else, or not at hand, or there is no memory now.
    A `FetchDescriptor` does it all. The value stands at the front of the buffer.

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
            buffer.release()
            return None
        check_stored(device.name, piece, 0, buffer.view if size == nbytes else buffer.view[:nbytes])
    except DaosError:
        buffer.release()
        raise
    return buffer
