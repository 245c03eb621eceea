"""The power fails behind every single device event of a mixed workload; see power_cut.py.

For every event: nothing of what was not flushed survived, all of it did, and random subsets with
blocks torn at 512 bytes. LMDB's files are those of another shard by then; recovery starts on the
device alone.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Literal

import pytest

from daos.testing.recording import FlushEvent, Journal
from tests.crash.power_cut import Judge, record

Keep = Literal["none", "all", "some"]


async def every_cut(live: Path, seed: int, *, clients: int, calls: int) -> int:
    """The number of images judged."""
    recording = await record(live / "recorded", seed, clients=clients, calls=calls)
    journal = recording.journal
    assert recording.checkpoints
    judge = Judge(recording, live / "recovered")
    rng = random.Random(seed)
    judged = 0
    for cut in range(len(journal) + 1):
        for keep in _subsets(journal, cut):
            images = journal.image(cut, rng, keep=keep)
            try:
                await judge.judge(cut, images, rng)
            except Exception as error:
                error.add_note(f"power cut behind event {cut} of seed {seed}, {keep} kept")
                raise
            judged += 1
    return judged


def _subsets(journal: Journal, cut: int) -> list[Keep]:
    if cut == 0 or isinstance(journal.events[cut - 1], FlushEvent):
        return ["none"]  # nothing is in doubt
    return ["none", "all", "some", "some"]


@pytest.mark.parametrize(("seed", "clients", "calls"), [(1, 1, 150), (2, 4, 90), (3, 12, 40), (5, 40, 15)])
def test_a_shard_keeps_its_promises_wherever_it_is_cut(
    live_path: Path, seed: int, clients: int, calls: int
) -> None:
    judged = asyncio.run(every_cut(live_path, seed, clients=clients, calls=calls))
    assert judged > 200


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
