"""Whole clusters, a seed each: no violation, and every run repeatable."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from daos.testing.sim.__main__ import main, report
from daos.testing.sim.campaign import HASH_SEEDS, digests, run_many, run_one
from daos.testing.sim.run import Result

CORPUS: Final = Path(__file__).parent / "corpus.txt"
STRIDE: Final = 125
SEEDS: Final = 500


def corpus() -> list[int]:
    lines = CORPUS.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def told(results: list[Result]) -> str:
    return "\n".join(report(result) for result in results if result.violation)


@pytest.mark.parametrize("first", range(1, SEEDS, STRIDE))
def test_no_seed_finds_a_violation(first: int) -> None:
    results = list(run_many(range(first, first + STRIDE), jobs=2))
    assert not told(results)
    # The faults are there, and so are calls that nobody knows the outcome of.
    assert sum(result.boots for result in results) > 2 * STRIDE + STRIDE // 2
    assert sum(result.resets for result in results) > STRIDE
    assert sum(result.unknown for result in results) > STRIDE


@pytest.mark.parametrize("seed", corpus())
def test_what_was_found_once_stays_fixed(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Disks fail in it: servers say so, which is no fault of theirs."""
    assert not told([run_one(seed)])
    assert not [record for record in caplog.records if record.exc_info]


def test_a_seed_is_the_same_run_in_any_process_under_any_hash_seed() -> None:
    seeds = range(1, 13)
    here = [f"{seed} {run_one(seed).digest}" for seed in seeds]
    assert len({line.split()[1] for line in here}) == len(seeds)
    for hash_seed in HASH_SEEDS:
        assert digests(seeds, hash_seed) == here


def test_the_command_tells_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3..4", "--jobs", "1", "--verbose"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[:2]] == ["3", "4"]
    assert "2 seeds" in out[2]
    assert "no violation" in out[2]


@pytest.mark.parametrize("seeds", ["", "x..3", "5..1"])
def test_a_bad_range_is_refused(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--seeds", seeds])
    assert stopped.value.code == 2
    assert "seeds" in capsys.readouterr().err
