"""Planted bugs: seeds must find each of them, and say what is wrong.

Each mutant replaces one function of the product. The search begins at a seed that has found it; as
changes of the product move what a seed does, the next ones are tried, two hundred at most. That
seeds find nothing without a mutant is what `test_seeds.py` says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from typing import Final, NamedTuple

import pytest

from daos.base.errors import DER, DaosError, NoSpaceError
from daos.base.ids import Epoch, Lsn
from daos.cart.bulk import Mode, Range
from daos.cart.context import Rpc
from daos.engine.core import segments
from daos.engine.iv import Iv
from daos.engine.iv_core import Id, NameSpace
from daos.engine.iv_wire import SyncRequest
from daos.engine.target import ContainerHandle
from daos.object.large import Executed
from daos.object.server import ObjectService, _Fetching
from daos.object.wire import FetchReply, UpdateReply
from daos.testing.sim.campaign import run_one
from daos.vos.work import EpochRange

SEEDS_MAX: Final = 200

Patch = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_flush(patch: pytest.MonkeyPatch) -> None:
    def executed(_service: object, rpc: Rpc, _handle: object, epoch: int, _lsn: int) -> None:
        rpc.reply(UpdateReply(epoch))

    patch.setattr("daos.object.server.ObjectService._executed", executed)


def read_what_is_not_durable(patch: pytest.MonkeyPatch) -> None:
    def depends_on_nothing(_table: object, _object_hash: int, _dkey_hash: int) -> Lsn:
        return Lsn(0)

    patch.setattr("daos.vos.lsn.LsnTable.of_dkey", depends_on_nothing)


def execute_a_resend_again(patch: pytest.MonkeyPatch) -> None:
    def never_seen(_table: object, _dtx: bytes, _resend: int = 0) -> None:
        return None

    patch.setattr("daos.vos.dtx_table.DtxTable.find", never_seen)


def let_bulk_reach_beyond_its_region(patch: pytest.MonkeyPatch) -> None:
    def no_bounds(_region: object, ranges: Sequence[Range], _mode: Mode) -> int:
        return sum(nbytes for _, nbytes in ranges)

    patch.setattr("daos.cart.bulk_owner.check_access", no_bounds)


def aggregate_what_a_snapshot_shows(patch: pytest.MonkeyPatch) -> None:
    def no_snapshots(done: int, _snapshots: Sequence[int], top: int) -> list[EpochRange]:
        return segments(done, (), top)

    patch.setattr("daos.engine.aggregation.segments", no_snapshots)


def forget_what_is_owed(patch: pytest.MonkeyPatch) -> None:
    def nothing(_later: object, _key: bytes, _work: object, *, at_once: bool = False) -> None:
        return None

    patch.setattr("daos.engine.later.Later.add", nothing)


def place_by_the_old_map(patch: pytest.MonkeyPatch) -> None:
    def not_taken(_maps: object, _pool_map: object) -> None:
        return None

    patch.setattr("daos.object.maps.PoolMaps.take", not_taken)


def keep_closed_handles_at_one_rank(patch: pytest.MonkeyPatch) -> None:
    whole = Iv._tell_holders

    async def tell(iv: Iv, request: SyncRequest, deadline_ns: int) -> None:
        if iv._xstream.rank != 1:
            await whole(iv, request, deadline_ns)

    patch.setattr(Iv, "_tell_holders", tell)


def give_out_what_a_close_has_overtaken(patch: pytest.MonkeyPatch) -> None:
    whole = NameSpace.drop

    def drop(space: NameSpace, invalid: Collection[Id], spread: Container[int]) -> None:
        asking = set(space.asking)
        whole(space, invalid, spread)
        space.asking |= asking

    patch.setattr(NameSpace, "drop", drop)


def leave_targets_waiting_for_a_fate(patch: pytest.MonkeyPatch) -> None:
    def nothing(_service: object) -> None:
        return None

    patch.setattr("daos.container.snapshots.SnapshotService.owe_fates", nothing)


def refuse_for_space_what_was_done(patch: pytest.MonkeyPatch) -> None:
    whole = ObjectService._executed

    def executed(
        service: ObjectService, rpc: Rpc, handle: ContainerHandle, epoch: Epoch, lsn: Lsn
    ) -> None:
        numbers = handle.shard.meta.statistics()
        if numbers.blocks_left * 50 < numbers.space.blocks_total:
            rpc.fail(NoSpaceError("told too late"))
        else:
            whole(service, rpc, handle, epoch, lsn)

    patch.setattr(ObjectService, "_executed", executed)


def acknowledge_what_had_no_space(patch: pytest.MonkeyPatch) -> None:
    whole = ObjectService.land_update

    def land(service: ObjectService, rpc: Rpc) -> Sequence[memoryview] | None:
        try:
            return whole(service, rpc)
        except NoSpaceError:
            rpc.reply(UpdateReply(service._hlc.now()))
            return None

    patch.setattr(ObjectService, "land_update", land)


def tell_when_it_was_durable(patch: pytest.MonkeyPatch) -> None:
    whole = Executed.durable

    def durable(executed: Executed, error: DaosError | None) -> None:
        executed.epoch = executed.rpc._channel.station.hlc.now()
        whole(executed, error)

    patch.setattr(Executed, "durable", durable)


def give_out_what_is_damaged(patch: pytest.MonkeyPatch) -> None:
    def unchecked(_device: str, _piece: object, _lo: int, _data: memoryview) -> None:
        return None

    patch.setattr("daos.bio.one_value.check_stored", unchecked)
    patch.setattr("daos.bio.descriptor.check_stored", unchecked)


def find_nothing_where_it_is_damaged(patch: pytest.MonkeyPatch) -> None:
    def fail(fetching: _Fetching, error: DaosError) -> None:
        fetching.handle.container.fetch_end(fetching.fetch)
        if error.code is DER.CSUM:
            fetching.rpc.reply(FetchReply(fetching.epoch, (0,) * len(fetching.fetch.sizes)))
        else:
            fetching.rpc.fail(error)

    patch.setattr(_Fetching, "_fail", fail)


class Mutant(NamedTuple):
    """A bug, and where to begin."""

    plant: Patch
    first: int  # seed; the next ones find it at the latest
    told: tuple[str, ...]  # one of these is part of what is said


MUTANTS: Final = {
    "acknowledge before flush": Mutant(acknowledge_before_flush, 8, ("no order",)),
    "read what is not durable": Mutant(read_what_is_not_durable, 265, ("no order", "CSUM")),
    "execute a resend again": Mutant(execute_a_resend_again, 5, ("no order",)),
    "let bulk reach beyond its region": Mutant(
        let_bulk_reach_beyond_its_region, 1, ("too small", "a borrower")
    ),
    "aggregate what a snapshot shows": Mutant(
        aggregate_what_a_snapshot_shows, 1, ("showed", "no order")
    ),
    "refuse for space what was done": Mutant(
        refuse_for_space_what_was_done, 4, ("no order", "refused is read")
    ),
    "acknowledge what had no space": Mutant(
        acknowledge_what_had_no_space, 4, ("no order", "is read as", "more than its size")
    ),
    "tell when it was durable": Mutant(tell_when_it_was_durable, 3, ("by their epochs",)),
    "give out what is damaged": Mutant(
        give_out_what_is_damaged, 23, ("is read", "is not read", "showed", "no order")
    ),
    "find nothing where it is damaged": Mutant(find_nothing_where_it_is_damaged, 8, ("is read",)),
    "forget what is owed": Mutant(
        forget_what_is_owed, 76, ("does not come back", "waits for", "not answered")
    ),
    "place by the old map": Mutant(place_by_the_old_map, 1, ("not answered",)),
    "keep closed handles at one rank": Mutant(
        keep_closed_handles_at_one_rank, 20, ("a closed handle",)
    ),
    "give out what a close has overtaken": Mutant(
        give_out_what_a_close_has_overtaken, 164, ("a closed handle",)
    ),
    "leave targets waiting for a fate": Mutant(
        leave_targets_waiting_for_a_fate, 152, ("waits for",)
    ),
}


@pytest.mark.parametrize("name", list(MUTANTS))
def test_seeds_find_it(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    del caplog  # a run with failing disks logs what it should
    mutant = MUTANTS[name]
    mutant.plant(monkeypatch)
    violation, tried = "", 0
    while not violation:
        assert tried < SEEDS_MAX, f"{tried} seeds from {mutant.first} on find nothing: {name}"
        violation = run_one(mutant.first + tried).violation
        tried += 1
    assert any(told in violation for told in mutant.told), violation
