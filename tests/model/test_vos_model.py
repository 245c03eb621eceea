"""VOS against a model that shares no code with it, driven by hypothesis.

Every rule is one call on shard and model, drawn from a seed that hypothesis chooses and shrinks; a
failure is a short list of calls. The run is the same every time. DAOS_MODEL_EXAMPLES asks for more
examples, and then they are new ones.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests.model.model_workload import Workload

STEPS_MIN: Final = 10_000
EXAMPLES: Final = int(os.environ.get("DAOS_MODEL_EXAMPLES", "0"))
SEEDS: Final = st.integers(0, (1 << 24) - 1)
LIVE_ROOT: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None

Call = Callable[[random.Random], Coroutine[Any, Any, None]]


class VosMachine(RuleBasedStateMachine):
    """A shard, its model, and the calls of both."""

    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.live = tempfile.TemporaryDirectory(dir=LIVE_ROOT, prefix="vos-model-")
        self.workload: Workload

    @initialize(seed=SEEDS)
    def start(self, seed: int) -> None:
        self.workload = self.runner.run(Workload.start(Path(self.live.name), seed))

    def teardown(self) -> None:
        if hasattr(self, "workload"):
            VosMachine.steps += self.workload.steps
            self.runner.run(self.workload.stop())
        self.runner.close()
        self.live.cleanup()

    def call(self, call: Call, seed: int) -> None:
        self.runner.run(call(random.Random(seed)))

    @rule(seed=SEEDS)
    def update(self, seed: int) -> None:
        self.call(self.workload.update, seed)

    @rule(seed=SEEDS)
    def update_again(self, seed: int) -> None:
        # Twice, since hypothesis chooses rules evenly: without values there is little to compare.
        self.call(self.workload.update, seed)

    @rule(seed=SEEDS)
    def punch(self, seed: int) -> None:
        self.call(self.workload.punch, seed)

    @rule(seed=SEEDS)
    def fetch(self, seed: int) -> None:
        self.call(self.workload.fetch, seed)

    @rule(seed=SEEDS)
    def enumerate(self, seed: int) -> None:
        self.call(self.workload.enumerate, seed)

    @rule(seed=SEEDS)
    def query(self, seed: int) -> None:
        self.call(self.workload.query, seed)

    @rule(seed=SEEDS)
    def settle(self, seed: int) -> None:
        self.call(self.workload.settle, seed)

    @rule(seed=SEEDS)
    def checkpoint(self, seed: int) -> None:
        self.call(self.workload.checkpoint, seed)

    @rule(seed=SEEDS)
    def reopen(self, seed: int) -> None:
        self.call(self.workload.reopen, seed)

    @rule(seed=SEEDS)
    def containers(self, seed: int) -> None:
        self.call(self.workload.containers, seed)

    @rule(seed=SEEDS)
    def raise_bound(self, seed: int) -> None:
        self.call(self.workload.raise_bound, seed)

    @rule(seed=SEEDS)
    def aggregate(self, seed: int) -> None:
        self.call(self.workload.aggregate, seed)

    @rule(seed=SEEDS)
    def diff(self, seed: int) -> None:
        self.call(self.workload.diff, seed)

    @rule(seed=SEEDS)
    def discard(self, seed: int) -> None:
        self.call(self.workload.discard, seed)

    @rule(seed=SEEDS)
    def check(self, seed: int) -> None:
        self.call(self.workload.check, seed)


def test_the_store_answers_as_the_model_does(capsys: pytest.CaptureFixture[str]) -> None:
    VosMachine.steps = 0
    chosen = settings(
        max_examples=EXAMPLES or 220,
        stateful_step_count=60,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(VosMachine, settings=chosen)
    with capsys.disabled():
        print(f" [{VosMachine.steps} steps without a difference]", end="")
    assert EXAMPLES or VosMachine.steps >= STEPS_MIN


@pytest.mark.parametrize("seed", range(8))
def test_long_histories_agree_too(tmp_path: Path, seed: int) -> None:
    async def run() -> None:
        workload = await Workload.start(tmp_path, seed)
        await workload.run(400, seed)
        await workload.check(random.Random(seed))
        await workload.stop()

    asyncio.run(run())


def test_colliding_hashes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daos.vos.keys.hash128", lambda key: bytes(15) + bytes([len(key) % 2]))

    async def run(seed: int) -> None:
        workload = await Workload.start(tmp_path, seed)
        await workload.run(300, seed)
        await workload.check(random.Random(seed))
        await workload.stop()

    for seed in range(3):
        asyncio.run(run(seed))
