"""The superblock slots on the device: read, judge, write, and format.

Generation g is written to slot g % 2, so the slot of g - 1 stays whole while g is written:

    both slots intact      the greater generation is in force
    one slot unreadable    the other one, but only if it is proved that the unreadable one was not
                           newer and in use: no log group knows of it (replay.prove_newest)
    none                   CorruptError

What an opening reads is made durable before it writes the next generation: after a failed flush
the newest slot may stand in the device's cache alone, and writing the other one would put both in
doubt.

An intact superblock of another version is refused, never passed over for the other slot.

Source: ours; DAOS keeps one WAL and one meta header (bio_wal.c), which SPDK writes as a whole.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from daos.base.errors import CorruptError, InvalidError
from daos.bio.device import BLOCK, BlockDevice, Write, read, write
from daos.bio.layout import SUPERBLOCK_SLOTS, Superblock
from daos.bio.replay import prove_newest

# Smallest ring and data space that `format` accepts, in blocks.
WAL_BLOCKS_MIN = 12
DATA_BLOCKS_MIN = 32


async def format_device(device: BlockDevice, *, uuid: UUID, wal_bytes: int) -> None:
    """Both superblocks of an empty shard, and a ring that begins with nothing.

    Raises:     InvalidError   the device is too small
                NvmeIoError
    """
    blocks, wal_count = device.size_bytes // BLOCK, wal_bytes // BLOCK
    if wal_count < WAL_BLOCKS_MIN or blocks < SUPERBLOCK_SLOTS + wal_count + DATA_BLOCKS_MIN:
        raise InvalidError(
            f"device {device.name} of {device.size_bytes} bytes with a log of {wal_bytes}: "
            f"at least {WAL_BLOCKS_MIN} blocks of log and {DATA_BLOCKS_MIN} of data expected"
        )
    # Groups of an earlier life may lie in the ring, under the same uuid: their generation is less
    # than the birth of this one.
    earlier, _ = await _read_slots(device)
    birth = 1 + max((superblock.generation for superblock in earlier), default=0)
    first = Superblock(
        uuid=uuid,
        generation=birth,
        birth=birth,
        size_bytes=blocks * BLOCK,
        wal_first=SUPERBLOCK_SLOTS,
        wal_count=wal_count,
    )
    second = replace(first, generation=birth + 1)
    ring_start = Write(first.wal_first * BLOCK, [memoryview(bytes(BLOCK))])
    await write(device, [slot_write(first), slot_write(second), ring_start], flush=True)


async def read_superblock(device: BlockDevice) -> Superblock:
    """The superblock in force. Raises: CorruptError, NotSupportedError, NvmeIoError."""
    intact, damaged = await _read_slots(device)
    if not intact:
        raise damaged[0]
    superblock = intact[0]
    if superblock.size_bytes > device.size_bytes:
        size = superblock.size_bytes
        raise CorruptError("superblock size_bytes", offset=48, want=device.size_bytes, got=size)
    if damaged:
        await prove_newest(device, superblock)
    return superblock


def slot_write(superblock: Superblock) -> Write:
    return Write(superblock.slot * BLOCK, [memoryview(superblock.emit())])


async def _read_slots(device: BlockDevice) -> tuple[list[Superblock], list[CorruptError]]:
    """The intact superblocks, newest first, and what is wrong with the others."""
    intact: list[Superblock] = []
    damaged: list[CorruptError] = []
    for slot in range(SUPERBLOCK_SLOTS):
        block = memoryview(bytearray(BLOCK))
        await read(device, slot * BLOCK, block)
        try:
            superblock = Superblock.parse(block)
            if superblock.slot != slot:
                raise CorruptError("superblock slot", offset=32, want=slot, got=superblock.slot)
            intact.append(superblock)
        except CorruptError as error:
            damaged.append(error)
    intact.sort(key=lambda superblock: -superblock.generation)
    return intact, damaged
