"""A real process, killed with SIGKILL 50 times over the same directory.

What it was answered is there, what it was not answered is there whole or not at all, and what was
found after one round is found after the next. The moment of each kill is a line of its output, so
that it falls into opening, recovery and work alike.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Final

import daos
from tests.crash import kill_writer
from tests.crash.kill_writer import CONTAINER, OBJECT, POOL, TARGETS, content

ROUNDS: Final = 50
LINES_MAX: Final = 120


class Told:
    """What the processes said, and what that means for each key."""

    def __init__(self) -> None:
        # By key, the contents that it may have; the last answered one first.
        self.possible: dict[str, list[bytes | None]] = {}
        self.snapshots: dict[str, int] = {}
        self.answers = 0

    def hear(self, line: str) -> None:
        match line.split():
            case ["issued", key, number, size]:
                value = content(int(number), int(size)) if int(size) else None
                self.possible.setdefault(key, [None]).append(value)
            case ["answered", key, _]:
                del self.possible[key][:-1]  # a key has one writer: its last change was answered
                self.answers += 1
            case ["snapshot", epoch, name]:
                self.snapshots[name] = int(epoch)
            case _:
                assert line == "begin", line

    def check(self, path: Path) -> None:
        """Compare with what is there, which is the truth from now on."""
        with daos.local(path, targets=TARGETS) as system:
            if POOL not in {pool.label for pool in system.admin.pool_list()}:
                assert not self.answers
                return
            pool = system.connect().pool(POOL)
            if CONTAINER not in {listed.label for listed in pool.containers()}:
                assert not self.answers
                return
            container = pool.container(CONTAINER)
            name = container.attrs.get(OBJECT)
            if name is None:
                assert not self.answers
                return
            kv = container.kv(daos.ObjectId.parse(name.decode()))
            for key, possible in self.possible.items():
                found = kv.get(key)
                assert found in possible, f"{key} has {found and found[:16]!r}"
                possible[:] = [found]
            there = {snapshot.name: snapshot.epoch for snapshot in container.snapshots()}
            assert self.snapshots.items() <= there.items()


def run_and_kill(path: Path, told: Told, rng: random.Random) -> int:
    """One process, from its start to its end; how many lines it lived."""
    command = [sys.executable, kill_writer.__file__, str(path), str(rng.getrandbits(32))]
    lines_max = rng.choice((1, 1, 2, 5, rng.randint(1, LINES_MAX), rng.randint(1, LINES_MAX)))
    lines = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                told.hear(line.rstrip("\n"))
                lines += 1
                if lines == lines_max:
                    process.kill()
        finally:
            process.kill()
    assert lines >= lines_max, f"the process ended by itself: {process.returncode}"
    return lines


def test_nothing_answered_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    told, rng = Told(), random.Random(9)
    path = tmp_path / "system"
    for _ in range(ROUNDS):
        run_and_kill(path, told, rng)
        told.check(path)
    assert told.answers > 5 * ROUNDS
    assert len(told.snapshots) > ROUNDS / 5
