"""Space comes back: old versions make room while updates come, and what is removed is seen to be.

The systems have virtual time or a clock of their own: nothing here depends on the machine's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

import daos
from daos.testing.simsystem import simulated_system

MiB = 1 << 20
POOL = 64 * MiB


@pytest.fixture
def pool() -> Iterator[daos.Pool]:
    with simulated_system() as system:
        system.admin.pool_create("tank", POOL)
        with system.connect() as client, client.pool("tank") as pool:
            yield pool


def one_value(obj: daos.Object) -> Callable[[bytes], None]:
    return lambda data: obj.update(b"d", b"single", data)


def one_extent(obj: daos.Object) -> Callable[[bytes], None]:
    return lambda data: obj.write(b"d", b"array", 0, data)


@pytest.mark.parametrize("place", [one_value, one_extent])
def test_ten_times_the_pool_goes_into_one_place(
    pool: daos.Pool, place: Callable[[daos.Object], Callable[[bytes], None]]
) -> None:
    """Faster than versions grow old: an update that finds no space waits until some comes back."""
    with pool.create_container("c") as container:
        obj = container.object(container.new_oid(oclass="S1"))
        write = place(obj)
        for number in range(10 * POOL // MiB):
            write(number.to_bytes(4, "little") * (MiB // 4))
        last = number.to_bytes(4, "little") * (MiB // 4)
        if place is one_value:
            assert obj.fetch(b"d", b"single") == last
        else:
            assert obj.read(b"d", b"array", 0, MiB) == last


def test_extents_that_hide_each_other_in_part(pool: daos.Pool) -> None:
    """No room to merge, and nothing hidden as a whole: their hidden parts have to go."""
    rng = random.Random(1)
    with pool.create_container("c") as container:
        obj = container.object(container.new_oid(oclass="S1"))
        expected = bytearray(8 * MiB)
        for number in range(5 * POOL // MiB):
            at = rng.randrange(7 * MiB)
            data = number.to_bytes(4, "little") * (MiB // 4)
            obj.write(b"d", b"array", at, data)
            expected[at : at + MiB] = data
        assert obj.read(b"d", b"array", 0, 8 * MiB) == bytes(expected)
