"""Snapshots and epochs as the reference tests them: `suite/daos_epoch.c`, `_recovery.c`."""

from __future__ import annotations

import pytest

import daos


def test_versions_are_aggregated_up_to_the_last(cont: daos.Container, obj: daos.Object) -> None:
    for number in range(100):
        obj.update(b"dkey", b"akey", b"%d" % number)
    cont.aggregate()
    assert obj.fetch(b"dkey", b"akey") == b"99"
    cont.aggregate(epoch=1)
    cont.aggregate()


def test_aggregation_asks_for_a_right_epoch_and_the_right_to_write(
    pool: daos.Pool, cont: daos.Container
) -> None:
    for wrong in (0, -1, 1 << 64):
        with pytest.raises(daos.InvalidError):
            cont.aggregate(wrong)
    reader = pool.container(str(cont.uuid), flags="r")
    with pytest.raises(daos.AccessError):
        reader.aggregate()
    reader.close()


def seven_snapshots(cont: daos.Container, obj: daos.Object) -> list[int]:
    taken = []
    for number in range(100):
        obj.update(b"dkey", b"akey", b"%d" % number)
        if number % 15 == 7:
            taken.append(cont.snapshot())
    return taken


def test_snapshots_are_counted(cont: daos.Container, obj: daos.Object) -> None:
    info = cont.query()
    assert (info.snapshots, info.newest_snapshot) == (0, 0)
    taken = seven_snapshots(cont, obj)
    info = cont.query()
    assert (info.snapshots, info.newest_snapshot) == (7, taken[-1])
    assert [snapshot.epoch for snapshot in cont.snapshots()] == taken == sorted(taken)


def test_snapshots_are_kept_by_aggregation(cont: daos.Container, obj: daos.Object) -> None:
    taken = seven_snapshots(cont, obj)
    cont.aggregate()
    for index, epoch in enumerate(taken):
        with cont.at(epoch) as view:
            assert view.object(obj.oid).fetch(b"dkey", b"akey") == b"%d" % (7 + 15 * index)
    assert len(list(obj.versions(b"dkey", b"akey"))) == 8
    cont.destroy_snapshot(taken[3])
    cont.aggregate()
    assert len(list(obj.versions(b"dkey", b"akey"))) == 7


def test_a_snapshot_is_destroyed_once(pool: daos.Pool, cont: daos.Container) -> None:
    obj = cont.object(cont.new_oid())
    taken = seven_snapshots(cont, obj)
    cont.destroy_snapshot(taken[2])
    with pytest.raises(daos.NotFoundError):
        cont.destroy_snapshot(42)
    with pytest.raises(daos.NotFoundError):
        cont.destroy_snapshot(taken[2])
    assert cont.query().snapshots == 6
    again = pool.container(str(cont.uuid))
    assert (again.query().snapshots, again.query().newest_snapshot) == (6, taken[-1])
    again.close()


def test_a_difference_of_snapshots(cont: daos.Container, obj: daos.Object) -> None:
    obj.update_many(b"dkey", {b"same": b"1", b"other": b"2", b"gone": b"3"})
    obj.write(b"dkey", b"array", 0, b"x" * 100)
    first = cont.snapshot("first")
    obj.update(b"dkey", b"other", b"new")
    obj.punch_akeys(b"dkey", [b"gone"])
    obj.write(b"dkey", b"array", 10, b"yyy")
    obj.punch_range(b"dkey", b"array", 50, 10)
    cont.snapshot("second")
    cont.aggregate()
    for a, b in ((first, "second"), ("first", None)):
        found = {change.akey: change for change in cont.diff(a, b)}
        kinds = {akey: change.kind for akey, change in found.items()}
        assert kinds == {b"other": "changed", b"gone": "punched", b"array": "changed"}
        assert {change.oid for change in found.values()} == {obj.oid}
        ranges = [(each.lo, each.hi, each.written) for each in found[b"array"].ranges]
        assert ranges == [(10, 13, True), (50, 60, False)]
    listing = cont.diff("first", "second")
    some = next(iter(listing))
    rest = list(cont.diff("first", "second", anchor=listing.anchor))
    assert {some.akey, *(change.akey for change in rest)} == found.keys()
    assert len(rest) == 2
    with pytest.raises(daos.NotFoundError):
        list(cont.diff("first", "never"))
    with pytest.raises(daos.InvalidError):
        list(cont.diff("second", "first"))


AKEYS = [b"akey%d" % number for number in range(4)]


def fill(cont: daos.Container) -> daos.ObjectId:
    obj = cont.object(cont.new_oid())
    obj.update_many(b"dkey", dict.fromkeys(AKEYS, b"timestamp 1"))
    cont.snapshot()
    obj.update_many(b"dkey", dict.fromkeys(AKEYS, b"timestamp 2"))
    return obj.oid


def test_updates_survive_the_close_of_their_container(
    pool: daos.Pool, cont: daos.Container
) -> None:
    with pool.container(str(cont.uuid)) as writer:
        oid = fill(writer)
    with pool.container(str(cont.uuid), flags="r") as reader:
        got = reader.object(oid, "r").fetch_many(b"dkey", AKEYS)
        assert list(got) == [b"timestamp 2"] * 4


def test_updates_survive_the_end_of_their_connection(
    client: daos.Client, cont: daos.Container
) -> None:
    with client.pool("tank") as pool, pool.container(str(cont.uuid)) as writer:
        oid = fill(writer)
    with (
        client.pool("tank", flags="r") as pool,
        pool.container(str(cont.uuid), flags="r") as reader,
    ):
        got = reader.object(oid, "r").fetch_many(b"dkey", AKEYS)
        assert list(got) == [b"timestamp 2"] * 4
