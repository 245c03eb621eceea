"""Full: a pool that has no space left, and a file system that others have filled.

What gives space back works in a full pool. On a full file system, where the index of a pool can't
grow, reads go on, updates are refused, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import daos

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """160 MiB of their own: a system with a pool of 16 MiB takes 130."""
    if os.getuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine may not mount a tmpfs")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def fill(put: Callable[[int, int], None]) -> int:
    """Values of three sizes, until not even a small one finds space; how many there are."""
    count = 0
    for size in (200_000, 10_000, 100):
        with pytest.raises(daos.NoSpaceError):  # noqa: PT012
            while True:
                put(count, size)
                count += 1
    return count


@pytest.fixture
def pool() -> Iterator[daos.Pool]:
    with daos.local(targets=1) as system:
        system.admin.pool_create("tank", "16MiB", props={"reclaim": "disabled"})
        with system.connect() as client, client.pool("tank") as pool:
            yield pool


Free = Callable[[daos.Pool, daos.Container, daos.Object], None]


def remove_keys(pool: daos.Pool, cont: daos.Container, obj: daos.Object) -> None:
    obj.punch_dkeys([b"%d" % number for number in range(30)])
    cont.aggregate()


def remove_values(pool: daos.Pool, cont: daos.Container, obj: daos.Object) -> None:
    for number in range(30):
        obj.punch_akeys(b"%d" % number, [b"a"])
    cont.aggregate()


def remove_records(pool: daos.Pool, cont: daos.Container, obj: daos.Object) -> None:
    for number in range(30):
        obj.punch_range(b"%d" % number, b"records", 0, 40_000)
    cont.aggregate()


def remove_object(pool: daos.Pool, cont: daos.Container, obj: daos.Object) -> None:
    obj.punch()
    cont.aggregate()


def remove_snapshot(pool: daos.Pool, cont: daos.Container, obj: daos.Object) -> None:
    obj.punch()
    cont.destroy_snapshot("kept")
    cont.aggregate()


def remove_container(pool: daos.Pool, cont: daos.Container, obj: daos.Object) -> None:
    cont.close()
    pool.destroy_container("full")


@pytest.mark.parametrize(
    "free",
    [
        remove_keys,
        remove_values,
        remove_records,
        remove_object,
        remove_snapshot,
        remove_container,
    ],
)
def test_what_gives_space_back_works_in_a_full_pool(pool: daos.Pool, free: Free) -> None:
    other = pool.create_container("other")
    spare = other.kv()
    cont = pool.create_container("full")
    obj = cont.object(cont.new_oid(oclass="S1"))

    def put(number: int, size: int) -> None:
        if free is remove_records and number < 30:
            obj.write(b"%d" % number, b"records", 0, bytes(40_000))
        obj.update(b"%d" % number, b"a", bytes(size))

    for number in range(30):
        put(number, 100_000)
    if free is remove_snapshot:
        cont.snapshot("kept")
    fill(lambda number, size: put(number + 30, size))
    with pytest.raises(daos.NoSpaceError):
        spare["value"] = bytes(100_000)
    free(pool, cont, obj)
    spare["value"] = bytes(100_000)
    assert spare["value"] == bytes(100_000)


def test_a_full_pool_serves_who_comes(pool: daos.Pool) -> None:
    """Readers, new handles, listings, queries, new containers."""
    with pool.create_container("full") as cont:
        kv = cont.kv()
        count = fill(lambda number, size: kv.put(f"{number}", bytes(size)))
        oid = kv.oid
    with pool.container("full", "r") as cont:
        assert sum(1 for _ in cont.kv(oid)) == count
        assert cont.kv(oid)["0"] == bytes(200_000)
    assert pool.query().space.tiers[1].free < MIB
    with pool.create_container("new") as new, pytest.raises(daos.NoSpaceError):
        new.kv()["value"] = bytes(100_000)
    assert {each.label for each in pool.containers()} == {"full", "new"}
    pool.destroy_container("full")
    pool.destroy_container("new")
    with pool.create_container("again") as cont:
        cont.kv()["value"] = bytes(MIB)


def test_full_metadata_can_be_emptied(pool: daos.Pool) -> None:
    """Attributes fill the store of a pool: who comes to empty it is let in."""
    with pool.create_container("marked") as cont:
        cont.snapshot("old")
        cont.attrs["own"] = b"x" * 100
    names = 0
    for size in (60_000, 1000, 10):
        with pytest.raises(daos.NoSpaceError):  # noqa: PT012
            while True:
                pool.attrs[f"{names}"] = bytes(size)
                names += 1
    with pytest.raises(daos.NoSpaceError):
        pool.create_container("new")
    with pool.container("marked") as cont:
        cont.destroy_snapshot("old")
        del cont.attrs["own"]
        cont.kv()["value"] = b"data has a place of its own"
        with pytest.raises(daos.NoSpaceError):
            cont.snapshot("new")
    pool.destroy_container("marked")
    for name in range(60):
        del pool.attrs[f"{name}"]
    with pool.create_container("new") as cont:
        cont.snapshot("new")


def test_a_pool_with_full_metadata_can_be_destroyed() -> None:
    with daos.local(targets=1) as system:
        system.admin.pool_create("tank", "16MiB")
        with system.connect() as client:
            with client.pool("tank") as pool:
                for size in (60_000, 1000, 10):
                    with pytest.raises(daos.NoSpaceError):  # noqa: PT012
                        for number in range(100_000):
                            pool.attrs[f"{size}.{number}"] = bytes(size)
            client.pool("tank").close()
        system.admin.pool_destroy("tank")
        assert system.admin.pool_list() == []


@pytest.mark.expects_warning("aggregation ended")
@pytest.mark.parametrize("again", ["at once", "later"])
def test_a_file_system_that_others_fill(small_disk: Path, again: str) -> None:
    """What was acknowledged is read; all goes on once there is room again, or at the next start."""
    system = daos.local(small_disk / "d", targets=1)
    system.admin.pool_create("tank", "16MiB")
    client = system.connect()
    kv = client.pool("tank").create_container("c").kv()
    acknowledged = {}
    for number in range(50):
        kv[f"{number}"] = acknowledged[f"{number}"] = os.urandom(5000)
    ballast = os.open(small_disk / "ballast", os.O_CREAT | os.O_WRONLY)
    for size in (MIB, 4096):
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012
            while True:
                os.write(ballast, bytes(size))
    os.close(ballast)
    with pytest.raises(daos.NoSpaceError):  # noqa: PT012
        for number in range(50, 10_000):
            value = os.urandom(500)
            kv[f"{number}"] = value
            acknowledged[f"{number}"] = value
    assert all(kv[key] == value for key, value in acknowledged.items())
    if again == "at once":
        (small_disk / "ballast").unlink()
        kv["more"] = acknowledged["more"] = bytes(3000)
        system.close()
    else:
        with pytest.raises(daos.NoSpaceError):
            system.close()
        (small_disk / "ballast").unlink()
    with daos.local(small_disk / "d") as system, system.connect() as client:
        again = client.pool("tank").container("c").kv(kv.oid)
        assert all(again[key] == value for key, value in acknowledged.items())
        again["new"] = bytes(5000)
