"""Planted bugs: seeds must find each of them, and say what is wrong.

Each mutant replaces one function of the product. The range of seeds is short because it begins
where the bug shows; seeds 1 to 200 find each of them. That the same seeds find nothing without the
mutant is what `test_seeds.py` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from daos.base.ids import Lsn
from daos.cart.context import Rpc
from daos.object.wire import UpdateReply
from daos.testing.sim.campaign import run_one

Patch = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_flush(patch: pytest.MonkeyPatch) -> None:
    def executed(_service: object, rpc: Rpc, _handle: object, epoch: int, _lsn: int) -> None:
        rpc.reply(UpdateReply(epoch))

    patch.setattr("daos.object.server._ObjectService._executed", executed)


def read_what_is_not_durable(patch: pytest.MonkeyPatch) -> None:
    def depends_on_nothing(_table: object, _object_hash: int, _dkey_hash: int) -> Lsn:
        return Lsn(0)

    patch.setattr("daos.vos.lsn.LsnTable.of_dkey", depends_on_nothing)


def execute_a_resend_again(patch: pytest.MonkeyPatch) -> None:
    def never_seen(_table: object, _dtx: bytes, _resend: int = 0) -> None:
        return None

    patch.setattr("daos.vos.dtx_table.DtxTable.find", never_seen)


class Mutant(NamedTuple):
    """A bug, and seeds that find it."""

    plant: Patch
    seeds: range
    told: tuple[str, ...]  # one of these is part of what is said


MUTANTS: Final = {
    "acknowledge before flush": Mutant(acknowledge_before_flush, range(29, 36), ("no order",)),
    "read what is not durable": Mutant(
        read_what_is_not_durable, range(47, 51), ("no order", "CSUM")
    ),
    "execute a resend again": Mutant(execute_a_resend_again, range(1, 15), ("no order",)),
}


@pytest.mark.parametrize("name", list(MUTANTS))
def test_seeds_find_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    mutant.plant(monkeypatch)
    found = [result.violation for seed in mutant.seeds if (result := run_one(seed)).violation]
    assert found, f"no seed of {mutant.seeds} finds this: {name}"
    assert any(told in found[0] for told in mutant.told), found
