"""Would the oracles notice? Each mutant is a fault planted in the store, and has to be caught.

By the workload beside the model (model_workload.py): what the store answers is wrong.
By the matrix of the reference (VOS900, VOS901), or by transactions out of order
(test_serial.py): somebody was told what is not so in the order of epochs.
By the power cut (tests/crash/power_cut.py): what the store promised does not survive.

An oracle that has nothing to say about the unchanged store, and something about each mutant, sees
what it looks at. A mutant that stops the workload with anything but a difference, or an error of
the store, is a broken mutant and fails the test.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from daos.base.errors import DaosError, NotFoundError
from daos.base.ids import EPOCH_MAX, ContainerUuid, Epoch, Lsn
from daos.bio import device as block_device
from daos.bio import replay
from daos.bio.space import Extent, Space
from daos.cart.context import Rpc
from daos.object.wire import UpdateReply
from daos.testing.devices import MemoryDevice
from daos.testing.recording import RecordingDevice
from daos.testing.shard import memory_shard
from daos.vos import extents, ilog_view, iterate, pool, punch, scan, update, versions
from daos.vos.aggregate import Aggregation
from daos.vos.anchor import Position
from daos.vos.container import VosContainer
from daos.vos.edit import Edit
from daos.vos.extent_record import ExtentRecord
from daos.vos.lsn import LsnTable
from daos.vos.merge import ArrayMerge
from daos.vos.newest import NewestEpoch
from daos.vos.newest_notes import NewestNotes
from daos.vos.newest_table import NewestTable
from daos.vos.nodes import Node, Nodes
from daos.vos.single import SingleRecord
from daos.vos.timestamps import Timestamps
from daos.vos.versions import Epochs
from tests.conformance.reference import test_mvcc
from tests.crash import system_cut
from tests.crash.judge import Judge
from tests.crash.power_cut import record
from tests.model import test_serial
from tests.model.model_workload import OBJECTS, Workload
from tests.model.twin import Shard, Twin, iod_all
from tests.model.vos_model import ARRAY, SINGLE, Op, Write

Patch = pytest.MonkeyPatch
# What mutants hand through untouched.
Passed = Any
Mutant = Callable[[Patch], None]
LIVE_ROOT: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None


# Mutants of answers


def punches_of_parents_are_ignored(patch: Patch) -> None:
    """A dkey survives the punch of its object, an akey that of its dkey."""
    look = Node.look
    patch.setattr(Node, "look", lambda node, epoch, parent=None: look(node, epoch))


def extents_ignore_punches(patch: Patch) -> None:
    """Array records of an earlier incarnation come back."""
    find = extents.find

    def blind(*args: Passed, floor: object, **kwargs: Passed) -> Passed:
        return find(*args, **kwargs)

    patch.setattr(extents, "find", blind)


def extents_ignore_epochs(patch: Patch) -> None:
    """Readers of the past see the newest records."""
    find = extents.find

    def blind(*args: Passed, epoch: object, **kwargs: Passed) -> Passed:
        return find(*args, epoch=EPOCH_MAX, **kwargs)

    patch.setattr(extents, "find", blind)


def no_new_incarnation(patch: Patch) -> None:
    """What was punched once is not created again by a write."""
    decide = ilog_view.update

    def lazy(log: Passed, *args: Passed, **kwargs: Passed) -> Passed:
        new = decide(log, *args, **kwargs)
        return log if log.entries else new

    patch.setattr(ilog_view, "update", lazy)


def punch_does_not_propagate(patch: Patch) -> None:
    """A dkey stays when its last akey is punched."""
    patch.setattr(punch._Punch, "_any_visible", lambda *_: True)


def late_punches_hide_later_writes(patch: Patch) -> None:
    """A punch is accepted below a write that relies on the creation it hides."""
    patch.setattr(Timestamps, "later_write", lambda *_: False)


def page_loses_its_last_entry(patch: Patch) -> None:
    """A full page of keys forgets one, and the next page begins behind it."""
    page = iterate._page

    def short(*args: Passed, **kwargs: Passed) -> Passed:
        found, position, eof = page(*args, **kwargs)
        return found[: len(found) - (not eof and len(found) > 1)], position, eof

    patch.setattr(iterate, "_page", short)


def listings_begin_anywhere(patch: Patch) -> None:
    """A start is taken for a hint."""
    made = scan.KeyScan.__init__

    def careless(self: Passed, *args: Passed, start: bytes = b"", **kwargs: Passed) -> None:
        made(self, *args, **kwargs)

    patch.setattr(scan.KeyScan, "__init__", careless)


def backwards_repeats_the_anchor(patch: Patch) -> None:
    """A page backwards begins with the entry that ended the page before it."""
    begin = scan.KeyScan._begin

    def eager(self: Passed, position: Position) -> Passed:
        return begin(self, position._replace(included=position.included or self._reverse))

    patch.setattr(scan.KeyScan, "_begin", eager)


def long_keys_begin_anew(patch: Patch) -> None:
    """Each page of keys that share 400 bytes begins at the first of them."""
    patch.setattr(scan.KeyScan, "_edge", lambda *_: (b"", False))


def versions_of_all_epochs(patch: Patch) -> None:
    """A range of epochs is taken for a hint."""
    walk = versions.extents

    def blind(reader: Passed, akey_id: int, epochs: Passed, **kwargs: Passed) -> Passed:
        return walk(reader, akey_id, Epochs(), **kwargs)

    patch.setattr(versions, "extents", blind)


def versions_lose_a_place(patch: Patch) -> None:
    """A page of versions begins other width classes anew."""
    first = versions._first

    def far(akey_id: int, cls: int, after: bytes, *, reverse: bool) -> bytes:
        return first(akey_id, cls, after if after[:1] == bytes([cls]) else b"", reverse=reverse)

    patch.setattr(versions, "_first", far)


def failed_update_stays_in_the_cache(patch: Patch) -> None:
    """Nodes are cached when they are made, not when the transaction that makes them is in."""
    caches: list[Passed] = []
    find = Nodes.object
    put = Edit.put

    def remember(nodes: Nodes, order: bytes) -> Node | None:
        caches[:] = [nodes.cache]
        return find(nodes, order)

    def hasty(edit: Edit, cache_key: Passed, tree_key: bytes, made: Passed) -> None:
        put(edit, cache_key, tree_key, made)
        caches[0].put(cache_key, Node.of(tree_key, made))

    patch.setattr(Nodes, "object", remember)
    patch.setattr(Edit, "put", hasty)


def bound_is_forgotten(patch: Patch) -> None:
    """After a restart, epochs are handed out from the beginning again."""
    opened = pool.VosPool.open_container

    def careless(shard: Passed, uuid: Passed) -> Passed:
        container = opened(shard, uuid)
        container.modification_bound = Epoch(1)
        return container

    patch.setattr(pool.VosPool, "open_container", careless)


def aggregation_drops_what_a_snapshot_shows(patch: Patch) -> None:
    """The range of epochs begins at the first one, whatever has to be kept below."""
    aggregate = VosContainer.aggregate

    def greedy(container: Passed, lo: int, hi: int, **kwargs: Passed) -> Passed:
        return aggregate(container, 0, hi, **kwargs)

    patch.setattr(VosContainer, "aggregate", greedy)


def aggregation_frees_blocks_twice(patch: Patch) -> None:
    """Those of extents that are hidden."""
    delete = ArrayMerge._delete

    def again(merge: Passed, edit: Passed, found: Passed) -> None:
        delete(merge, edit, found)
        if found.record.run is not None:
            edit.tx.free(found.record.run)

    patch.setattr(ArrayMerge, "_delete", again)


def punches_are_forgotten_before_what_they_hide(patch: Patch) -> None:
    """The values of an akey stay when its log is aggregated."""

    def lazy(*_: object) -> Generator[Passed, None, bool]:
        yield from ()
        return True

    patch.setattr(Aggregation, "_values", lazy)


def aggregation_takes_the_newest_epoch_along(patch: Patch) -> None:
    """No note says when a punch was that is forgotten."""
    patch.setattr(NewestNotes, "removed", lambda *_: None)


def the_newest_epoch_of_what_was_discarded(patch: Patch) -> None:
    """The table knows what nobody finds in the tree."""
    patch.setattr(NewestTable, "forget", lambda *_: None)


def searches_know_more_than_they_saw(patch: Patch) -> None:
    """The newest epoch as of a snapshot is taken for the newest of all."""
    made = NewestEpoch.__init__

    def sure(search: Passed, *args: Passed) -> None:
        made(search, *args)
        search.fills = True

    patch.setattr(NewestEpoch, "__init__", sure)


ANSWERS: Final[Sequence[Mutant]] = (
    aggregation_drops_what_a_snapshot_shows,
    aggregation_frees_blocks_twice,
    punches_are_forgotten_before_what_they_hide,
    aggregation_takes_the_newest_epoch_along,
    the_newest_epoch_of_what_was_discarded,
    searches_know_more_than_they_saw,
    punches_of_parents_are_ignored,
    extents_ignore_punches,
    extents_ignore_epochs,
    no_new_incarnation,
    punch_does_not_propagate,
    late_punches_hide_later_writes,
    page_loses_its_last_entry,
    listings_begin_anywhere,
    backwards_repeats_the_anchor,
    long_keys_begin_anew,
    versions_of_all_epochs,
    versions_lose_a_place,
    failed_update_stays_in_the_cache,
    bound_is_forgotten,
)


# Mutants of conflicts


def misses_leave_no_trace(patch: Patch) -> None:
    """Who was told that there is nothing may find something later, at the same epoch."""
    read = Timestamps.read

    def careless(*args: Passed) -> None:
        if sys.exc_info()[0] is not NotFoundError:
            read(*args)

    patch.setattr(Timestamps, "read", careless)


def equal_epochs_do_not_conflict(patch: Patch) -> None:
    """`<` where `<=` is right: another transaction writes at the very epoch of a read."""
    check = Timestamps.check
    patch.setattr(
        Timestamps, "check", lambda stamps, path, epoch, who: check(stamps, path, epoch + 1, who)
    )


def a_transaction_conflicts_with_itself(patch: Patch) -> None:
    """Nobody may write what he read himself."""
    check = Timestamps.check
    patch.setattr(
        Timestamps, "check", lambda stamps, path, epoch, _: check(stamps, path, epoch, b"nobody")
    )


def reads_do_not_reach_up(patch: Patch) -> None:
    """What was read below an object or a dkey does not keep that from being punched."""
    read = Timestamps.read

    def shallow(stamps: Timestamps, path: Passed, epoch: int, who: Passed) -> None:
        read(stamps, path, epoch, who)
        for _, entry in stamps._entries(path):
            entry.rh, entry.rh_by = entry.rl, entry.rl_by

    patch.setattr(Timestamps, "read", shallow)


def restarts_come_before_conditions(patch: Patch) -> None:
    """A condition that fails is not told where the write would have been refused as well."""
    run = update._End.run

    def hasty(work: Passed) -> Passed:
        who = None if work.op is None else work.op.id
        work.state.timestamps.check(update._path(work.update), work.epoch, who)
        return run(work)

    patch.setattr(update._End, "run", hasty)


def doubt_ends_at_the_own_clock(patch: Patch) -> None:
    """The bound is not compared: clocks are taken to be equal."""
    for module in ("conflicts", "punch", "update"):
        patch.setattr(f"daos.vos.{module}.refuse_doubt", lambda *_, **__: None)


def doubt_is_off_by_one(patch: Patch) -> None:
    """A write at the bound itself counts as behind it."""
    later = Timestamps.later_write

    def short(stamps: Passed, path: Passed, epoch: int, bound: int = EPOCH_MAX) -> bool:
        return later(stamps, path, epoch, bound - 1)

    patch.setattr(Timestamps, "later_write", short)


CONFLICTS: Final[Sequence[Mutant]] = (
    misses_leave_no_trace,
    equal_epochs_do_not_conflict,
    a_transaction_conflicts_with_itself,
    reads_do_not_reach_up,
    restarts_come_before_conditions,
    late_punches_hide_later_writes,
    doubt_ends_at_the_own_clock,
    doubt_is_off_by_one,
)


def propagation_reads_nothing(patch: Patch) -> None:
    """That a dkey was found empty, or not, leaves no trace: an akey may come late, or go."""
    read = Timestamps.read

    def careless(stamps: Timestamps, path: Passed, epoch: int, who: Passed) -> None:
        if sys._getframe(1).f_code is not punch._Punch._punch_akeys.__code__:
            read(stamps, path, epoch, who)

    patch.setattr(Timestamps, "read", careless)


# Mutants of promises


def misses_depend_on_nothing(patch: Patch) -> None:
    """A reader who finds nothing is told so at once, though the punch may be lost."""
    begin = VosContainer.fetch_begin

    def careless(*args: Passed, **kwargs: Passed) -> Passed:
        found = begin(*args, **kwargs)
        if not found.nbytes:
            found.lsn = Lsn(0)
        return found

    patch.setattr(VosContainer, "fetch_begin", careless)


def listings_depend_on_nothing(patch: Patch) -> None:
    """A listing is shown before the keys in it are durable."""
    patch.setattr(LsnTable, "of_object", lambda *_: Lsn(0))


def reply_before_durable(patch: Patch) -> None:
    """Writers are told that their updates are safe as soon as they are visible."""
    end = VosContainer.update_end

    def hasty(*args: Passed, **kwargs: Passed) -> Lsn:
        end(*args, **kwargs)
        return Lsn(0)

    patch.setattr(VosContainer, "update_end", hasty)


def server_replies_before_durable(patch: Patch) -> None:
    """The same, one layer up: clients of a whole system are told at once."""

    def hasty(_self: Passed, rpc: Rpc, _handle: Passed, epoch: Epoch, _lsn: Lsn) -> None:
        rpc.reply(UpdateReply(epoch))

    patch.setattr("daos.object.server.ObjectService._executed", hasty)


def flush_is_left_out(patch: Patch) -> None:
    """The device takes every group into its cache, and nobody asks for more."""
    submit = MemoryDevice.submit_write

    def unflushed(
        device: MemoryDevice,
        writes: Sequence[block_device.Write],
        *,
        flush: bool,
        done: block_device.Done,
    ) -> None:
        submit(device, writes, flush=False, done=done)

    patch.setattr(RecordingDevice, "submit_write", unflushed)


def recovery_trusts_data(patch: Patch) -> None:
    """The last group counts as soon as its log blocks are whole, without a look at its data."""

    async def trusting(*_: object) -> bool:
        return True

    patch.setattr(replay._Log, "data_intact", trusting)


def recovery_forgets_the_last_group(patch: Patch) -> None:
    """The last group never counts."""

    async def suspicious(*_: object) -> bool:
        return False

    patch.setattr(replay._Log, "data_intact", suspicious)


def freed_blocks_are_reused_at_once(patch: Patch) -> None:
    """Blocks are written again before the group that freed them is durable."""
    free = Space.free

    def hasty(space: Space, extent: Extent, *, lsn: int) -> None:
        free(space, extent, lsn=0)
        space.reclaim(durable_lsn=1)

    patch.setattr(Space, "free", hasty)


PROMISES: Final[Sequence[Mutant]] = (
    misses_depend_on_nothing,
    listings_depend_on_nothing,
    reply_before_durable,
    flush_is_left_out,
    recovery_trusts_data,
    recovery_forgets_the_last_group,
    freed_blocks_are_reused_at_once,
)


# Mutants of checksums


def payload_is_not_verified(patch: Patch) -> None:
    """Values are handed out as they come from the device, or the tree."""
    patch.setattr("daos.bio.descriptor.check_stored", lambda *_: None)
    patch.setattr("daos.bio.one_value.check_stored", lambda *_: None)
    patch.setattr(SingleRecord, "verify", lambda _: None)
    patch.setattr(ExtentRecord, "verify", lambda _: None)


MUTANTS: Final = tuple(
    pytest.param(mutant, caught_by, id=f"{mutant.__name__}-{caught_by}")
    for mutants, caught_by in (
        (ANSWERS, "model"),
        (CONFLICTS, "matrix"),
        ((propagation_reads_nothing,), "serial"),
        (PROMISES, "power cut"),
        ((server_replies_before_durable,), "power cut of a system"),
    )
    for mutant in mutants
)


async def compare_with_model(seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=LIVE_ROOT) as live:
        workload = await Workload.start(Path(live), seed)
        try:
            await workload.run(150, seed)
            await workload.check(random.Random(seed))
        finally:
            await workload.stop()


async def run_matrix(_: int) -> None:
    config, conflicts, doubts = test_mvcc.CONFIGS[0]
    async with memory_shard() as shard:
        (await test_mvcc.conflicts(shard, shard.container(), config)).judge(conflicts)
    async with memory_shard() as shard:
        (await test_mvcc.doubts(shard, shard.container(), config)).judge(doubts)


async def run_out_of_order(seed: int) -> None:
    await test_serial.run(seed, calls=300, spread=12)


async def cut_power(seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=LIVE_ROOT) as live:
        recording = await record(
            Path(live) / "recorded", seed, clients=12, calls=15, objects=1, device_bytes=3 << 19
        )
        judge = Judge(recording, Path(live) / "recovered")
        rng = random.Random(seed)
        for cut in range(len(recording.journal) + 1):
            await judge.judge(cut, recording.journal.image(cut, keep="none"), rng)
            await judge.judge(cut, recording.journal.image(cut, rng), rng)


async def cut_power_of_system(seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=LIVE_ROOT) as live:
        recording = await system_cut.record(Path(live) / "recorded", seed, calls=10)
        judge = system_cut.SystemJudge(recording, Path(live) / "recovered")
        rng = random.Random(seed)
        events = len(recording.journal)
        for cut in range(events // 3, events + 1, 2):
            await judge.judge(cut, recording.journal.image(cut, keep="none"), rng)


HUNTS: Final = {
    "model": compare_with_model,
    "matrix": run_matrix,
    "serial": run_out_of_order,
    "power cut": cut_power,
    "power cut of a system": cut_power_of_system,
}


def hunt(caught_by: str, seeds: int) -> None:
    for seed in range(seeds):
        asyncio.run(HUNTS[caught_by](seed))


@pytest.mark.parametrize(("mutant", "caught_by"), MUTANTS)
def test_a_mutant_is_caught(mutant: Mutant, caught_by: str, monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, DaosError)) as caught:
        hunt(caught_by, 40)
    print(f"{mutant.__name__}: {str(caught.value)[-600:]}")


@pytest.mark.parametrize("caught_by", ["model", "matrix", "power cut"])
def test_the_store_as_it_is_is_not(caught_by: str) -> None:
    hunt(caught_by, 2)


def test_damaged_bytes_are_refused_by_the_store_and_handed_out_by_the_mutant(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    """Of single values and extents, in blocks."""
    assert all("ChecksumError" in told for told in asyncio.run(read_damaged(tmp_path)))
    payload_is_not_verified(monkeypatch)
    assert not any("ChecksumError" in told for told in asyncio.run(read_damaged(tmp_path)))


async def read_damaged(live_path: Path) -> list[str]:
    """What the model has to say about each of two values."""
    shard = await Shard.create(live_path)
    twin = Twin.create(shard, ContainerUuid(UUID(int=9)))
    data = b"intact--" * 1024
    writes = (
        Write(b"s", SINGLE, len(data), ((0, 1, data),)),
        Write(b"a", ARRAY, 8, ((0, 1024, data),)),
    )
    await twin.update(Op(twin.newest() + 1, OBJECTS[0], b"d", writes))
    await shard.settle()
    assert isinstance(shard.device, MemoryDevice)
    blocks = shard.device.image.blocks
    damaged = [block for block, content in blocks.items() if content.startswith(b"intact--" * 512)]
    assert len(damaged) == 4
    for block in damaged[1::2]:
        shard.device.image.flip(block * block_device.BLOCK + 77)
    told = []
    for write in writes:
        with pytest.raises(AssertionError) as caught:
            await twin.fetch(OBJECTS[0], b"d", [iod_all(write.akey, write.kind)], twin.newest())
        told.append(str(caught.value))
    await shard.meta.close(checkpoint=False)
    return told
