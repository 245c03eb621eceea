"""Epochs that come too late: what the object service does about them, what it leaves to others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daos.base.errors import TxRestartError
from daos.base.ids import Epoch, Lsn
from daos.base.iod import Cond
from daos.vos.container import VosContainer
from tests.unit.embedded.cluster import Cluster, code_of, on_cluster, single
from tests.unit.object.test_server import BIG, OID, held, raw_update, update_of


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Epoch]:
    """The store finds the next epochs too late; those that it was asked with."""
    asked: list[Epoch] = []

    def late(method: Callable[..., Lsn]) -> Callable[..., Lsn]:
        def wrapper(store: VosContainer, what: object, epoch: Epoch, **rest: object) -> Lsn:
            asked.append(epoch)
            if len(asked) <= times:
                raise TxRestartError("somebody read later than that")
            return method(store, what, epoch, **rest)

        return wrapper

    monkeypatch.setattr(VosContainer, "update_end", late(VosContainer.update_end))
    monkeypatch.setattr(VosContainer, "punch", late(VosContainer.punch))
    return asked


@on_cluster
async def test_an_epoch_that_came_too_late_is_followed_by_a_newer_one(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    for call in (
        lambda: container.update(OID, b"d", [single(b"a", len(BIG))], [BIG]),
        lambda: container.punch(OID, b"d", b"other"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            asked = refuse(patch, 1)
            assert await call() == asked[1] > asked[0]
    assert (await container.fetch(OID, b"d", [single(b"a")]))[1] == BIG


@on_cluster
async def test_an_epoch_that_is_too_late_twice_or_has_conditions_is_for_the_client(
    cluster: Cluster,
) -> None:
    container = await (await cluster.pool()).container()
    before = held(container)
    for cond, times in ((Cond.NONE, 2), (Cond.DKEY_INSERT, 1)):
        with pytest.MonkeyPatch.context() as patch:
            asked = refuse(patch, times)
            sums = container.checksums([memoryview(BIG)])
            iod = single(b"a", len(BIG))
            request = update_of(container, iod, cond=int(cond), checksums=sums)
            assert await code_of(raw_update(container, request, BIG)) == "INPROGRESS"
            assert len(asked) == times
        assert held(container) == before
    with pytest.MonkeyPatch.context() as patch:
        refuse(patch, 1)
        call = container.punch(OID, b"d", b"a", cond=int(Cond.PUNCH))
        assert await code_of(call) == "INPROGRESS"
