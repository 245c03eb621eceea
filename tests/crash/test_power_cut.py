"""The power fails behind every single device event of a mixed workload.

One shard, against the model (power_cut.py, judge.py); and a whole system, as seen by its clients
(system_cut.py).

For every event: nothing of what was not flushed survived, all of it did, and random subsets with
blocks torn at 512 bytes. LMDB's files are those of another shard by then; recovery starts on the
device alone.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from daos.bio import ahead
from daos.testing.recording import FlushEvent, Journal
from tests.crash import system_cut
from tests.crash.judge import Judge
from tests.crash.power_cut import DEVICE_BYTES, Recording, record

Keep = Literal["none", "all", "some"]


class Load(NamedTuple):
    clients: int
    calls: int
    device_bytes: int = DEVICE_BYTES
    prepares: bool = False


async def every_cut(live: Path, seed: int, load: Load) -> Recording:
    recording = await record(
        live / "recorded",
        seed,
        clients=load.clients,
        calls=load.calls,
        device_bytes=load.device_bytes,
        aggregates=load.device_bytes > 1 << 20,  # else it would never be full
        prepares=load.prepares,
    )
    journal = recording.journal
    judge = Judge(recording, live / "recovered")
    rng = random.Random(seed)
    for cut in range(len(journal) + 1):
        for keep in _subsets(journal, cut):
            images = journal.image(cut, rng, keep=keep)
            try:
                await judge.judge(cut, images, rng)
            except Exception as error:
                error.add_note(f"power cut behind event {cut} of seed {seed}, {keep} kept")
                raise
    return recording


def _subsets(journal: Journal, cut: int) -> list[Keep]:
    if cut == 0 or isinstance(journal.events[cut - 1], FlushEvent):
        return ["none"]  # nothing is in doubt
    return ["none", "all", "some", "some"]


@pytest.mark.parametrize(
    ("seed", "load"),
    [
        (8, Load(clients=1, calls=120)),
        (2, Load(clients=4, calls=50, device_bytes=2 << 20)),
        (3, Load(clients=12, calls=25, prepares=True)),
        (4, Load(clients=40, calls=10)),
        (5, Load(clients=8, calls=60, device_bytes=1 << 20, prepares=True)),
    ],
)
def test_a_shard_keeps_its_promises_wherever_it_is_cut(
    live_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, load: Load
) -> None:
    for name, value in (("IDLE_S", 0), ("LOW_BLOCKS", 4), ("STEP_BLOCKS", 6)):
        monkeypatch.setattr(ahead, name, value)
    recording = asyncio.run(every_cut(live_path, seed, load))
    assert recording.checkpoints
    lost = [each for each in recording.journal.events if getattr(each, "data", b"")[:4] == b"lost"]
    assert bool(lost) == load.prepares
    gone = recording.aggregated.deleted_sv + recording.aggregated.deleted_ev
    assert gone or load.calls == 10 or load.device_bytes == 1 << 20
    assert len(recording.journal) > 100
    assert (recording.full > 0) == (load.device_bytes == 1 << 20)


@pytest.mark.expects_warning("management store is made again")  # cut while it was first made
@pytest.mark.parametrize("seed", [1, 2])
def test_a_system_keeps_its_promises_wherever_it_is_cut(live_path: Path, seed: int) -> None:
    """Made, used by several clients, stopped, started, used again: as applications see it."""

    async def run() -> None:
        recording = await system_cut.record(live_path / "recorded", seed, calls=20)
        journal = recording.journal
        judge = system_cut.SystemJudge(recording, live_path / "recovered")
        rng = random.Random(seed)
        for cut in range(len(journal) + 1):
            keep = rng.choice(_subsets(journal, cut))
            try:
                await judge.judge(cut, journal.image(cut, rng, keep=keep), rng)
            except Exception as error:
                error.add_note(f"power cut behind event {cut} of seed {seed}, {keep} kept")
                raise

    asyncio.run(run())


def test_a_recovery_that_is_cut_off_starts_over(live_path: Path) -> None:
    async def run() -> int:
        recording = await record(live_path / "recorded", 4, clients=4, calls=40)
        judge = Judge(recording, live_path / "recovered")
        rng = random.Random(4)
        judged = 0
        for cut in sorted(rng.sample(range(len(recording.journal) + 1), 20)):
            images = recording.journal.image(cut, rng)
            judged += await judge.judge_twice(cut, images, rng)
        return judged

    assert asyncio.run(run()) >= 60
