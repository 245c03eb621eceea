"""Clocks and UUIDs."""

from __future__ import annotations

import random

from daos.base.clock import Clock, SystemClock, uuid_from


def test_system_clock() -> None:
    clock: Clock = SystemClock()
    assert clock.now_ns() > 1_700_000_000 * 10**9
    assert clock.monotonic_ns() <= clock.monotonic_ns()


def test_same_seed_same_uuid() -> None:
    one, two = uuid_from(random.Random(7)), uuid_from(random.Random(7))
    assert one == two
    assert one.version == 4
    assert one != uuid_from(random.Random(8))
