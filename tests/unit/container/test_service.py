"""The container service: names, handles, properties, snapshots, ids; and what a crash leaves."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path
from uuid import UUID

import pytest

from daos.pool.module import POOL_KEY
from daos.testing.devices import MemoryDirectory
from daos.testing.recording import RecordingDirectory
from tests.unit.embedded.cluster import (
    Cluster,
    ContainerHandle,
    code_of,
    new_id,
    oid_of,
    on_cluster,
)

OID = oid_of()


@on_cluster
async def test_open_query_close_destroy(cluster: Cluster) -> None:
    pool = await cluster.pool()  # CONT (§9.34): create/open/query/close/destroy
    record = await pool.create("c1")
    assert await pool.list() == ["c1"]
    by_label = await pool.open("c1")
    by_uuid = await pool.open(str(UUID(bytes=record.uuid)))
    assert by_label.uuid == by_uuid.uuid == record.uuid
    info = await by_uuid.query()
    assert (info.label, info.handles, info.snapshots, info.newest_snapshot) == ("c1", 2, 0, 0)
    await by_label.close()
    assert (await by_uuid.query()).handles == 1
    assert await code_of(by_label.query()) == "NO_HDL"
    await by_uuid.close()
    await by_uuid.close()
    await pool.destroy("c1")
    assert await pool.list() == []
    for call in (pool.open("c1"), pool.destroy("c1"), pool.open("x" * 5000), pool.open("")):
        assert await code_of(call) == "NONEXIST"


@on_cluster
async def test_labels_are_unique_and_free_again(cluster: Cluster) -> None:
    pool = await cluster.pool()
    first = await pool.create("c1")
    assert await code_of(pool.create("c1")) == "EXIST"
    await pool.destroy("c1")
    second = await pool.create("c1")
    assert (await pool.open("c1")).uuid == second.uuid != first.uuid


@on_cluster
async def test_a_container_needs_no_label(cluster: Cluster) -> None:
    pool = await cluster.pool()
    record = await pool.create("")
    assert (await pool.open(str(UUID(bytes=record.uuid)))).uuid == record.uuid
    await pool.create("")
    assert await pool.list() == ["", ""]


@on_cluster
async def test_a_label_may_come_as_a_property(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.create("", props={"label": "p1"})
    await pool.create("p2", props={"label": "p2"})
    assert await pool.list() == ["p1", "p2"]
    assert await code_of(pool.create("p3", props={"label": "other"})) == "INVAL"
    assert (await (await pool.open("p1")).props())["label"] == "p1"


@pytest.mark.parametrize(
    ("label", "props", "code"),
    [
        ("has space", {}, "INVAL"),
        ("x" * 128, {}, "INVAL"),
        ("c1", {"cksum": "crc31"}, "INVAL"),
        ("c1", {"owner": "me"}, "NO_PERM"),
        ("c1", {"rd_fac": "1"}, "NOTSUPPORTED"),
        ("c1", {"alloc_oid": "100"}, "NO_PERM"),  # OID_ALLOC3 (§9.21), ours: at creation as well
    ],
)
@on_cluster
async def test_bad_creates(cluster: Cluster, label: str, props: dict[str, str], code: str) -> None:
    pool = await cluster.pool()
    assert await code_of(pool.create(label, props=props)) == code
    assert await code_of(pool.create("c1", uuid=b"short")) == "INVAL"
    assert await pool.list() == []


@on_cluster
async def test_a_repeated_create_finds_what_it_made(cluster: Cluster) -> None:
    """CONT7 (§9.34): applied but the reply lost: the retry has the original result."""
    pool = await cluster.pool()
    assert await pool.create("c1", uuid=new_id(50)) == await pool.create("c1", uuid=new_id(50))
    assert await code_of(pool.create("c2", uuid=new_id(50))) == "EXIST"


@on_cluster
async def test_a_repeated_open_finds_its_handle(cluster: Cluster) -> None:
    """CONT7: handle exists with the same flags ⇒ success, else EXIST."""
    pool = await cluster.pool()
    await pool.create("c1")
    first = await pool.open("c1", "ex", handle=new_id(60))
    again = await pool.open("c1", "ex", handle=new_id(60))
    assert first.uuid == again.uuid
    assert (await again.query()).handles == 1
    assert await code_of(pool.open("c1", "r", handle=new_id(60))) == "EXIST"
    assert await code_of(pool.open("c1", handle=b"short")) == "INVAL"
    assert await code_of(pool.open("c1", "x")) == "INVAL"


@on_cluster
async def test_destroying_an_open_container(cluster: Cluster) -> None:
    """CONT20 (§9.34): force=0 → BUSY, force=1 → 0, then closing the stale handle → 0."""
    pool = await cluster.pool()
    container = await pool.container("c1")
    await container.put(OID, b"d", {b"a": b"1"})
    assert await code_of(pool.destroy("c1")) == "BUSY"
    assert await container.get(OID, b"d", b"a") == b"1"
    await pool.destroy("c1", force=True)
    for call in (
        container.query(),
        container.get(OID, b"d", b"a"),
        container.put(OID, b"d", {b"a": b"2"}),
        container.punch(OID),
        container.snapshot(),
        container.alloc_oids(1),
        container.set_attrs({"a": b""}),
    ):
        assert await code_of(call) == "NO_HDL"
    assert await code_of(container.close()) == "SUCCESS"


@on_cluster
async def test_exclusive_opens(cluster: Cluster) -> None:
    """CONT33 (§9.34): EX while others have it open → BUSY; RW while EX → BUSY."""
    pool = await cluster.pool()
    shared = await pool.container("c1", "r")
    assert await code_of(pool.open("c1", "ex")) == "BUSY"
    await shared.close()
    alone = await pool.open("c1", "ex")
    for flags in ("r", "rw", "ex"):
        assert await code_of(pool.open("c1", flags)) == "BUSY"
    await alone.close()
    codes = await asyncio.gather(*(code_of(pool.open("c1", "ex")) for _ in range(5)))
    assert sorted(codes) == ["BUSY"] * 4 + ["SUCCESS"]


@on_cluster
async def test_rights(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.create("c1")
    reading = await cluster.connect(pool.pool, "r")
    assert await code_of(reading.open("c1", "rw")) == "NO_PERM"
    container = await reading.open("c1", "r")
    assert (await container.query()).handles == 1
    assert await container.snapshots() == []
    assert await container.attrs() == {}
    assert (await container.props())["label"] == "c1"
    for call in (
        container.set_attrs({"a": b""}),
        container.set_props(label="c2"),
        container.snapshot(),
        container.destroy_snapshot(42),
        container.alloc_oids(1),
    ):
        assert await code_of(call) == "NO_PERM"


@on_cluster
async def test_properties(cluster: Cluster) -> None:
    """CONT6 (§9.34): all properties with defaults; owner and group of the caller."""
    pool = await cluster.pool()
    container = await pool.container("c1", props={"cksum": "sha256", "cksum_size": "4k"})
    props = await container.props()
    expected = {
        "label": "c1",
        "cksum": "sha256",
        "cksum_size": "4096",
        "srv_cksum": "off",
        "encryption": "off",
        "owner": "me@",
        "group": "us@",
        "scrub_disabled": "false",
        "status": "HEALTHY",
        "alloc_oid": "0",
    }
    assert {name: props[name] for name in expected} == expected
    await container.alloc_oids(7)
    assert (await container.props())["alloc_oid"] == "7"


@on_cluster
async def test_changing_the_label(cluster: Cluster) -> None:
    """CONT9 (§9.34): set_prop label, then query shows it; ours: the old label is free again."""
    pool = await cluster.pool()
    container = await pool.container("c1")
    await pool.create("taken")
    assert await code_of(container.set_props(label="taken")) == "EXIST"
    await container.set_props(label="c2", status="healthy")
    assert (await container.query()).label == "c2"
    assert (await container.props())["label"] == "c2"
    assert await code_of(pool.open("c1")) == "NONEXIST"
    await pool.create("c1")
    await container.set_props(label="c2")
    assert await pool.list() == ["c1", "c2", "taken"]
    for props, code in (({"cksum": "off"}, "NO_PERM"), ({"label": ""}, "INVAL")):
        assert await code_of(container.set_props(**props)) == code
    assert await code_of(container.set_props(alloc_oid="1")) == "NO_PERM"  # OID_ALLOC3


@on_cluster
async def test_user_attributes(cluster: Cluster) -> None:
    """CONT4/5 (§9.34); ours: a missing name is NONEXIST."""
    pool = await cluster.pool()
    container = await pool.container("c1")
    await container.set_attrs({"first": b"1", "second": bytes(1000)})
    assert await container.attrs() == {"first": b"1", "second": bytes(1000)}
    assert await code_of(container.attrs("first", "third")) == "NONEXIST"
    assert await code_of(container.set_attrs({}, "third")) == "NONEXIST"
    await container.set_attrs({"third": b"3"}, "first", "second")
    assert await container.attrs() == {"third": b"3"}
    other = await pool.container("c2")
    assert await other.attrs() == {}


@on_cluster
async def test_times(cluster: Cluster) -> None:
    """CONT28 (§9.34): which operations touch the times of open and of change."""
    pool = await cluster.pool()
    first = await pool.container("c1")

    async def times() -> tuple[int, int]:
        info = await first.query()
        return info.opened, info.modified

    opened, modified = await times()
    assert (opened, modified) == await times()
    await (await pool.open("c1", "r")).close()
    opened_r, modified_r = await times()
    assert opened_r > opened
    assert modified_r == modified
    await (await pool.open("c1", "rw")).close()
    opened_rw, modified_rw = await times()
    assert opened_rw > opened_r
    assert modified_rw > modified_r
    epoch = await first.snapshot()
    opened_s, modified_s = await times()
    assert opened_s == opened_rw
    assert modified_s > modified_rw
    await first.destroy_snapshot(epoch)
    assert (await times())[0] == opened_s
    assert (await times())[1] > modified_s


@on_cluster
async def test_snapshots(cluster: Cluster) -> None:
    """§9.18: 7 snapshots among writes; list ascending; destroy one, 42 is none; 6 after reopen."""
    pool = await cluster.pool()
    container = await pool.container("c1")
    info = await container.query()
    assert (info.snapshots, info.newest_snapshot) == (0, 0)
    epochs = []
    for i in range(7):
        await container.put(OID, b"d", {b"a": b"%d" % i})
        epochs.append(await container.snapshot(f"s{i}" if i % 2 else ""))
    info = await container.query()
    assert (info.snapshots, info.newest_snapshot) == (7, epochs[-1])
    named = [(epoch, f"s{i}" if i % 2 else "") for i, epoch in enumerate(epochs)]
    assert await container.snapshots() == named == sorted(named)
    for i, epoch in enumerate(epochs):
        assert await container.get(OID, b"d", b"a", epoch=epoch) == b"%d" % i
    assert await code_of(container.destroy_snapshot(42)) == "NONEXIST"
    assert await code_of(container.destroy_snapshot(0, "unknown")) == "NONEXIST"
    assert await code_of(container.destroy_snapshot(0, "")) == "NONEXIST"
    await container.destroy_snapshot(epochs[0])
    await container.close()
    container = await pool.open("c1")
    info = await container.query()
    assert (info.snapshots, info.newest_snapshot) == (6, epochs[-1])
    await container.destroy_snapshot(0, "s1")
    assert await code_of(container.destroy_snapshot(0, "s1")) == "NONEXIST"
    assert await container.snapshot("s1") > epochs[-1]  # the name is free again
    await cluster.restart(checkpoint=False)
    container = await (await cluster.connect(pool.pool)).open("c1")
    assert (await container.query()).snapshots == 6
    assert await container.get(OID, b"d", b"a", epoch=epochs[3]) == b"3"


@on_cluster
async def test_snapshot_names(cluster: Cluster) -> None:
    pool = await cluster.pool()
    container = await pool.container("c1")
    await container.snapshot("s" * 128)
    for name, code in (("s" * 128, "EXIST"), ("s" * 129, "INVAL"), ("nul\0", "INVAL")):
        assert await code_of(container.snapshot(name)) == code
    codes = await asyncio.gather(*(code_of(container.snapshot("same")) for _ in range(4)))
    assert sorted(codes) == ["EXIST"] * 3 + ["SUCCESS"]
    assert len(await container.snapshots()) == 2


@on_cluster
async def test_what_a_snapshot_shows_never_changes(cluster: Cluster) -> None:
    """Writes race with snapshots; what was first read at a snapshot is read ever after."""
    pool = await cluster.pool()
    container = await pool.container("c1")
    seen: list[tuple[int, bytes | None]] = []

    async def write() -> None:
        for i in range(60):
            await container.put(OID, b"d", {b"a": b"%d" % i})

    async def snap() -> None:
        for _ in range(15):
            epoch = await container.snapshot()
            seen.append((epoch, await container.get(OID, b"d", b"a", epoch=epoch)))

    await asyncio.gather(write(), snap())
    for epoch, value in seen:
        assert await container.get(OID, b"d", b"a", epoch=epoch) == value
    assert [epoch for epoch, _ in seen] == sorted(epoch for epoch, _ in seen)


@on_cluster
async def test_nothing_is_written_below_a_snapshot_after_a_restart(cluster: Cluster) -> None:
    """The clock of the host has gone back: epochs go on above the snapshot all the same."""
    pool = await cluster.pool()
    container = await pool.container("c1")
    await container.put(OID, b"d", {b"a": b"before"})
    epoch = await container.snapshot()
    await cluster.stop(checkpoint=False)
    cluster.clock.advance(-0.9)  # within what the clock tolerates
    cluster.directory = MemoryDirectory(cluster.directory.images)
    await cluster.start()
    pool = await cluster.connect(pool.pool)
    container = await pool.open("c1")
    assert await container.put(OID, b"d", {b"a": b"after"}) > epoch
    assert await container.get(OID, b"d", b"a", epoch=epoch) == b"before"
    assert await container.snapshot() > epoch


@on_cluster
async def test_allocated_ids_never_overlap(cluster: Cluster) -> None:
    """OID_ALLOC1, OID_ALLOC4 (§9.21): two pool handles × two container handles, with reconnects."""
    pool = await cluster.pool()
    await pool.create("c1")
    rng = random.Random(4)
    taken: list[tuple[int, int]] = []
    for life in range(3):
        handles = [
            await (await cluster.connect(pool.pool)).open("c1") for _ in range(2) for _ in range(2)
        ]

        async def take(handle: ContainerHandle, count: int) -> None:
            first = await handle.alloc_oids(count)
            taken.append((first, first + count))

        await asyncio.gather(*(take(handles[i % 4], rng.randint(1, 256)) for i in range(20)))
        await cluster.restart(checkpoint=life == 1)
    taken.sort()
    assert len(taken) == 60
    assert all(hi <= lo for (_, hi), (lo, _) in itertools.pairwise(taken))


@on_cluster
async def test_each_container_counts_its_own_ids(cluster: Cluster) -> None:
    """OID_ALLOC2 (§9.21): create, allocate, destroy, again: the same first id each time."""
    pool = await cluster.pool()
    for _ in range(3):
        container = await pool.container("c1")
        assert await container.alloc_oids(100) == 1
        assert await container.alloc_oids(1) == 101
        await pool.destroy("c1", force=True)


@on_cluster
async def test_bad_allocations(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container("c1")
    for count in (0, -1, (1 << 32) + 1):
        assert await code_of(container.alloc_oids(count)) == "INVAL"
    assert await container.alloc_oids(1 << 32) == 1
    assert await container.alloc_oids(1) == (1 << 32) + 1


@on_cluster
async def test_changes_beside_a_destroy_leave_nothing_behind(cluster: Cluster) -> None:
    pool = await cluster.pool()
    for _ in range(5):
        container = await pool.container("c1")
        await asyncio.gather(
            *(code_of(container.set_attrs({f"a{i}": b"x"})) for i in range(5)),
            *(code_of(container.snapshot(f"s{i}")) for i in range(5)),
            code_of(container.alloc_oids(5)),
            code_of(container.set_props(label="c1")),
            code_of(pool.open("c1")),
            pool.destroy("c1", force=True),
        )
        rdb = cluster.system.engine.xstream.value(POOL_KEY).service(pool.pool).rdb
        left = [pair.key for pair in (await rdb.range(b"cont", b"conu")).pairs]
        left += [pair.key for pair in (await rdb.range(b"snap", b"snaq")).pairs]
        assert left == []
        assert not any(target._handles for target in cluster.targets)


@on_cluster
async def test_destroys_at_the_same_time(cluster: Cluster) -> None:
    pool = await cluster.pool()
    await pool.create("c1")
    codes = await asyncio.gather(*(code_of(pool.destroy("c1")) for _ in range(4)))
    assert "SUCCESS" in codes
    assert set(codes) <= {"SUCCESS", "NONEXIST"}


@on_cluster
async def test_a_destroyed_containers_space_comes_back(cluster: Cluster) -> None:
    """CONT25 (§9.34) without aggregation: destroy → 0 and the space returns."""
    pool = await cluster.pool()
    await pool.create("other")
    before = (await pool.query()).tiers[1].free
    container = await pool.container("c1")
    for i in range(40):
        await container.put(OID, b"%d" % i, {b"a": bytes(64 << 10)})
    assert before - (await pool.query()).tiers[1].free > 2 << 20
    await pool.destroy("c1", force=True)
    other = await pool.open("other")
    free = 0
    for i in range(1000):  # collecting goes on beside other work, and needs later groups
        await other.put(OID, b"d", {b"a": b"%d" % i})
        free = (await pool.query()).tiers[1].free
        if before - free < 64 << 10:
            break
    assert before - free < 64 << 10
    assert not cluster.shard(pool.pool).collecting


def test_collecting_goes_on_after_a_crash(tmp_path: Path) -> None:
    """Crash table of the engine: a part of the destroyed container is left; the rest comes back."""

    async def run() -> None:
        async with Cluster(tmp_path / "a", targets=1) as cluster:
            pool = await cluster.pool()
            before = (await pool.query()).tiers[1].free
            container = await pool.container("c1")
            for i in range(150):
                await container.put(OID, b"%d" % i, {b"a": bytes(8000)})
            await pool.destroy("c1", force=True)
            assert cluster.shard(pool.pool).collecting
            images = cluster.images()
        async with Cluster(tmp_path / "b", targets=1, directory=MemoryDirectory(images)) as again:
            pool = await again.connect(pool.pool)
            container = await pool.container("c2")
            for i in range(100):
                await container.put(OID, b"d", {b"a": b"%d" % i})
            assert not again.shard(pool.pool).collecting
            assert before - (await pool.query()).tiers[1].free < 64 << 10

    asyncio.run(run())


@pytest.mark.expects_warning("target stopped")
@pytest.mark.parametrize("broken", [0, 1])
@on_cluster
async def test_a_target_that_has_stopped_keeps_nobody_from_the_others(
    cluster: Cluster, broken: int
) -> None:
    """CONT23 (§9.34), otherwise: an open asks no target, so what fails there fails at its use."""
    pool = await cluster.pool()
    await pool.create("c1")
    cluster.targets[broken].fail(KeyError("a bug"))
    container = await pool.open("c1")
    for target in range(2):
        container.target = target
        code = await code_of(container.put(OID, b"d", {b"a": b"1"}))
        assert code == ("SHUTDOWN" if target == broken else "SUCCESS")
    await container.close()
    assert not any(target._handles for target in cluster.targets)


def test_a_destroy_goes_on_after_a_power_cut(tmp_path: Path) -> None:
    """Crash table; CONT36 (§9.34): a cut behind any event leaves the container whole or gone."""

    async def record() -> tuple[RecordingDirectory, int, int, bytes]:
        directory = RecordingDirectory()
        async with Cluster(tmp_path / "recorded", directory=directory) as cluster:
            pool = await cluster.pool()
            container = await pool.container("c1")
            await container.put(OID, b"d", {b"a": bytes(20_000)})
            await container.set_attrs({"x": b"1"})
            await container.snapshot("s")
            made = len(directory.journal)
            await pool.destroy("c1", force=True)
            return directory, made, len(directory.journal), pool.pool

    directory, made, acknowledged, pool_id = asyncio.run(record())

    async def check(cut: int) -> None:
        images = directory.journal.image(cut, random.Random(cut))
        async with Cluster(tmp_path / str(cut), directory=MemoryDirectory(images)) as cluster:
            cluster._next_id = 1000  # nobody draws an id a second time
            pool = await cluster.connect(pool_id)
            labels = await pool.list()
            assert labels in ([], ["c1"])
            assert cut < acknowledged or not labels
            if labels:
                container = await pool.open("c1")
                assert await container.get(OID, b"d", b"a") == bytes(20_000)
                assert await container.attrs() == {"x": b"1"}
                assert len(await container.snapshots()) == 1
            else:
                assert (await pool.query()).containers == 0
                assert all(not cluster.shard(pool_id, t).vos.containers() for t in range(2))
                await pool.container("c1")

    for cut in range(made, acknowledged + 1):
        asyncio.run(check(cut))


def test_snapshots_and_opens_through_power_cuts(tmp_path: Path) -> None:
    """Crash table: a container is whole or not there; a recorded handle is evicted; what was
    answered of a snapshot is there."""

    async def record() -> tuple[RecordingDirectory, list[tuple[int, int]], int, bytes]:
        directory = RecordingDirectory()
        answered = []
        async with Cluster(tmp_path / "recorded", directory=directory) as cluster:
            pool = await cluster.pool()
            start = len(directory.journal)
            await pool.create("c1", props={"cksum": "crc32"})
            container = await pool.open("c1")
            for _ in range(3):
                await container.put(OID, b"d", {b"a": b"x"})
                epoch = await container.snapshot()
                answered.append((len(directory.journal), epoch))
            return directory, answered, start, pool.pool

    directory, answered, start, pool_id = asyncio.run(record())

    async def check(cut: int) -> None:
        images = directory.journal.image(cut, random.Random(cut))
        async with Cluster(tmp_path / str(cut), directory=MemoryDirectory(images)) as cluster:
            pool = await cluster.connect(pool_id)
            if not await pool.list():
                assert cut < answered[0][0]
                await pool.create("c1", props={"cksum": "crc32"})  # label and records are free
            container = await pool.open("c1", "ex")
            assert (await container.props())["cksum"] == "crc32"
            epochs = [epoch for epoch, _ in await container.snapshots()]
            assert [epoch for at, epoch in answered if at <= cut] == epochs[: len(epochs)] or (
                [epoch for at, epoch in answered if at <= cut] == epochs[:-1]
            )
            newest = max(epochs, default=0)
            assert await container.put(OID, b"d", {b"a": b"y"}) > newest

    for cut in range(start, len(directory.journal) + 1):
        asyncio.run(check(cut))


@pytest.mark.expects_warning("target stopped")
@on_cluster
async def test_a_container_that_is_being_destroyed(cluster: Cluster) -> None:
    """CONT36 (§9.34): interrupted after marking: open → CONT_DESTROYING; destroy again → 0."""
    pool = await cluster.pool()
    record = await pool.create("c1")
    cluster.targets[1].fail(KeyError("a bug"))
    name = str(UUID(bytes=record.uuid))
    assert await code_of(pool.destroy("c1")) == "SHUTDOWN"
    assert await pool.list() == []
    assert await code_of(pool.open(name)) == "CONT_DESTROYING"
    assert await code_of(pool.create("c1", uuid=record.uuid)) == "CONT_DESTROYING"
    assert await code_of(pool.open("c1")) == "NONEXIST"
    await pool.create("c1")  # the label is free already
    cluster.targets[1]._stopped = ""
    await pool.destroy(name)
    assert await code_of(pool.open(name)) == "NONEXIST"
    assert await pool.list() == ["c1"]
