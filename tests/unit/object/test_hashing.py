"""Large updates and fetches: their checksums are computed a slice a turn of the loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daos.base import checksum
from daos.base.checksum import compute
from daos.base.errors import NotSupportedError
from daos.base.ids import TargetIndex
from daos.cart.context import Rpc
from daos.engine import offload
from daos.engine.offload import Offload
from daos.engine.rank import Part
from daos.object import server
from daos.vos.container import VosContainer
from tests.unit.embedded.cluster import Cluster, code_of, on_cluster, single
from tests.unit.object.test_server import BIG, OID, held, raw_update, update_of


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Values of some KiB are large ones; an entry for each turn in which an update was hashed."""
    monkeypatch.setattr(server, "HASHED_MIN", 4096)
    monkeypatch.setattr(checksum, "_SLICE", 4096)
    monkeypatch.setattr(checksum, "_SLICE_SLOW", 4096)
    seen, hash_one = list[int](), server.ObjectService._hash

    def counting(service: server.ObjectService, rpc: Rpc, steps: Iterator[None]) -> None:
        seen.append(len(seen))
        hash_one(service, rpc, steps)

    monkeypatch.setattr(server.ObjectService, "_hash", counting)
    return seen


@pytest.mark.parametrize("kind", ["off", "crc32", "sha256"])
@on_cluster
async def test_checksums_that_came_are_compared(
    cluster: Cluster, kind: str, turns: list[int]
) -> None:
    container = await (await cluster.pool()).container(props={"cksum": kind})
    before = held(container)
    iods = (single(b"a", len(BIG)), single(b"b", 1))
    good = tuple(compute(container.checksum_type, memoryview(v)) for v in (BIG, b"x"))
    for checksums, code in (
        ((), "INVAL"),
        (good[:1], "INVAL"),
        ((good[1], good[0]), "CSUM"),
        ((good[0], b""), "CSUM"),
    ):
        request = update_of(container, *iods, checksums=checksums)
        assert await code_of(raw_update(container, request, BIG + b"x")) == code
    damaged = update_of(container, *iods, checksums=good)
    assert await code_of(raw_update(container, damaged, b"?" + BIG[1:] + b"x")) == "CSUM"
    assert held(container) == before
    assert await container.get(OID, b"d", b"a") is None
    turns.clear()
    await raw_update(container, damaged, BIG + b"x")
    # 16 KiB, as they came, as they are stored, and for the log.
    assert 3 * 4 <= len(turns) <= 3 * 4 + 4
    reply, data = await container.fetch(OID, b"d", [single(b"b"), single(b"a")])
    assert (data, reply.checksums) == (b"x" + BIG, (good[1], good[0]))


@on_cluster
async def test_a_checksum_that_cannot_be_computed(
    cluster: Cluster, turns: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await (await cluster.pool()).container()
    before = held(container)

    def refused(*_arguments: object) -> Iterator[None]:
        yield
        raise NotSupportedError("no ISA-L here")

    with monkeypatch.context() as patch:
        patch.setattr(VosContainer, "update_hash", refused)
        assert await code_of(container.put(OID, b"d", {b"a": BIG})) == "NOTSUPPORTED"
    assert len(turns) == 2
    assert held(container) == before
    await container.put(OID, b"d", {b"a": BIG})


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each target has a helper, for values of some KiB; an entry for each job."""
    monkeypatch.setattr(offload, "_WORTH", 4096)
    monkeypatch.setattr(offload, "_WORTH_SLOW", 4096)

    def add_targets(part: Part, count: int) -> None:
        for index in map(TargetIndex, range(count)):
            part.add_target(index, Offload(part.loop, 1, None))

    given, run = list[int](), Offload.run

    def counting(self: Offload, steps: Iterator[None], done: offload.Done) -> None:
        given.append(len(given))
        run(self, steps, done)

    monkeypatch.setattr(Part, "add_targets", add_targets)
    monkeypatch.setattr(Offload, "run", counting)
    return given


@pytest.mark.parametrize("kind", ["off", "crc32", "sha256"])
@on_cluster
async def test_helpers_compute_the_same(
    cluster: Cluster, kind: str, turns: list[int], jobs: list[int]
) -> None:
    """In a thread of the target: no turn of the loop is taken, and damage is found."""
    container = await (await cluster.pool()).container(props={"cksum": kind})
    before = held(container)
    iod = single(b"a", len(BIG))
    good = (compute(container.checksum_type, memoryview(BIG)),)
    request = update_of(container, iod, checksums=good)
    assert await code_of(raw_update(container, request, b"?" + BIG[1:])) == "CSUM"
    assert held(container) == before
    await raw_update(container, request, BIG)
    _, data = await container.fetch(OID, b"d", [single(b"a")])
    assert bytes(data) == BIG
    assert (len(jobs), turns) == (2, [])


@on_cluster
async def test_helpers_that_cannot_compute(
    cluster: Cluster, jobs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await (await cluster.pool()).container()
    before = held(container)

    def refused(*_arguments: object) -> Iterator[None]:
        yield
        raise NotSupportedError("no ISA-L here")

    with monkeypatch.context() as patch:
        patch.setattr(VosContainer, "update_hash", refused)
        assert await code_of(container.put(OID, b"d", {b"a": BIG})) == "NOTSUPPORTED"
    assert len(jobs) == 1
    assert held(container) == before
