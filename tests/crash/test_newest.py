"""The power fails behind every device event of an aggregation that takes away what was the newest.

Each of its transactions is a group of its own; after each cut the object was changed last when it
was, as whoever reads at the end of the range or later is told.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from daos.base.ids import EPOCH_MAX, Epoch
from daos.base.iod import Iod, IodType, Recx
from daos.bio.meta import MetaContext
from daos.testing.devices import Image, MemoryDirectory
from daos.testing.recording import Journal, RecordingDirectory
from daos.testing.shard import POOL, MemoryShard, unit
from daos.vos import newest_notes
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.edit import Edit
from daos.vos.newest_notes import NewestNotes
from daos.vos.work import StepLimits, Want
from tests.crash.power_cut import DEVICE

OID = unit(1)
DEVICE_BYTES = 8 << 20
NEWEST, END = 54, 60
STEPWISE = AggregateConfig(limits=StepLimits(scan=2, delete=1))
Passed = Any  # what a planted fault hands through


async def write(shard: MemoryShard, c: VosContainer) -> None:
    """Values, holes over them, punches of keys: of all but one nothing will be left."""
    await shard.put(c, OID, b"stays", {b"s": b"x"}, epoch=5)
    for number in range(5):
        array, single = b"array %d" % number, b"single %d" % number
        await shard.write(c, OID, (array, b"a"), {0: b"y" * 100}, epoch=10 + number)
        await shard.put(c, OID, single, {b"s": b"x" * 5000}, epoch=20 + number)
        hole = Iod(b"a", IodType.ARRAY, 0, (Recx(0, 100),))
        await shard.update(c, OID, array, [hole], b"", epoch=30 + number)
        c.punch(OID, Epoch(40 + number), dkey=single, akeys=[b"s"])
        await shard.put(c, OID, b"array 0", {b"s": b""}, epoch=50 + number)
    await shard.meta.durable(shard.meta.lsn_last)


async def record(live_path: Path, *, known: bool) -> tuple[Journal, int]:
    """What an aggregation does to the device, and how many events came before it."""
    blank = MemoryDirectory()
    shard = MemoryShard(await blank.create(DEVICE, DEVICE_BYTES), live_path, 4096)
    await MetaContext.format(shard.device, uuid=POOL, config=shard.config)
    directory = RecordingDirectory(blank.images)
    shard.device = await directory.open(DEVICE)
    await shard.open()
    c = shard.container()
    await write(shard, c)
    if not known:
        c.newest.forget(b"")
    begin = len(directory.journal)
    work = c.aggregate(0, END, config=STEPWISE)
    while work.step() is not Want.NOTHING:
        await shard.meta.durable(shard.meta.lsn_last)
    await shard.meta.close(checkpoint=True)
    return directory.journal, begin


async def judge(images: dict[str, Image], live_path: Path) -> None:
    shard = MemoryShard(await MemoryDirectory(images).open(DEVICE), live_path, 4096)
    await shard.open()
    try:
        for epoch in (Epoch(END), EPOCH_MAX):
            search = shard.container().newest_epoch(OID, epoch)
            while search.step(100):
                pass
            assert search.epoch == NEWEST
    finally:
        await shard.meta.close(checkpoint=False)


async def every_cut(live_path: Path, *, known: bool) -> int:
    journal, begin = await record(live_path / "recorded", known=known)
    rng = random.Random(1)
    for cut in range(begin, len(journal) + 1):
        for images in (journal.image(cut, keep="none"), journal.image(cut, rng)):
            await judge(images, live_path / "recovered")
    return len(journal) - begin


@pytest.mark.parametrize("known", [True, False])
def test_the_newest_epoch_survives_an_aggregation_cut_off_anywhere(
    live_path: Path, known: bool
) -> None:
    assert asyncio.run(every_cut(live_path, known=known)) > 60


def test_a_note_that_comes_after_what_it_is_of_is_caught(
    live_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed, drop = NewestNotes.removed, newest_notes.drop
    late: list[int] = []

    def later(_notes: NewestNotes, _edit: Edit, epoch: int) -> None:
        late.append(epoch)

    def note_now(work: Passed, *args: Passed, **kwargs: Passed) -> Generator[Passed, None, None]:
        edit = Edit(work.meta, work.state.root)
        if late:
            removed(work.notes, edit, max(late))
        edit.commit(0)
        yield from drop(work, *args, **kwargs)

    monkeypatch.setattr(NewestNotes, "removed", later)
    monkeypatch.setattr(newest_notes, "drop", note_now)
    with pytest.raises(AssertionError):
        asyncio.run(every_cut(live_path, known=False))
