"""`./dev sim`: run seeds, tell what was found and how to see it again.

Exit status: 0 no violation, 1 some, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Final

from daos.base.clock import SystemClock
from daos.testing.sim.campaign import HASH_SEEDS, digests, run_many
from daos.testing.sim.run import Result

SEEDS_DEFAULT: Final = "1..200"


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit status."""
    options = _parser().parse_args(arguments)
    seeds: range = options.seeds
    if options.hash_check:
        return _check_hashes(seeds)
    clock = SystemClock()
    started_ns = clock.monotonic_ns()
    found = calls = boots = 0
    for result in run_many(seeds, jobs=min(options.jobs, len(seeds))):
        calls += result.calls
        boots += result.boots
        if options.digests:
            print(result.seed, result.digest)
        elif options.verbose:
            print(_line(result))
        if result.violation:
            found += 1
            if not options.digests:
                print(report(result))
    if not options.digests:
        seconds = (clock.monotonic_ns() - started_ns) / 1e9
        print(
            f"{len(seeds)} seeds, {calls} calls, {boots} boots, {seconds:.1f} s: "
            f"{found or 'no'} violation{'s' if found > 1 else ''}"
        )
    return 1 if found else 0


def report(result: Result) -> str:
    """What a person needs to begin with."""
    return (
        f"seed {result.seed}, commit {_commit()}: {result.violation}\n"
        f"again: ./dev sim --seeds {result.seed}..{result.seed} --verbose\n"
        f"digest: {result.digest}\n{result.story}\n"
    )


def _line(result: Result) -> str:
    return (
        f"{result.seed:6}  {result.calls:4} calls, {result.unknown:3} unknown, "
        f"{result.boots:2} boots, {result.resets:3} resets, {result.seconds:7.1f} virtual s, "
        f"{result.steps:6} turns  {result.digest}"
    )


def _check_hashes(seeds: range) -> int:
    first, second = (digests(seeds, hash_seed) for hash_seed in HASH_SEEDS)
    differing = [a.split()[0] for a, b in zip(first, second, strict=True) if a != b]
    if differing:
        print(f"not the same under two hash seeds: {', '.join(differing)}")
        return 1
    print(f"{len(first)} seeds, each the same under two hash seeds")
    return 0


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _seeds(text: str) -> range:
    first, _, last = text.partition("..")
    try:
        seeds = range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds such as 1..200") from None
    if not seeds or seeds[0] < 0:
        raise argparse.ArgumentTypeError(f"{text!r} has no seeds")
    return seeds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev sim", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=_seeds(SEEDS_DEFAULT), metavar="A..B")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    parser.add_argument("--digests", action="store_true", help="seed and digest, nothing else")
    parser.add_argument(
        "--hash-check", action="store_true", help="compare runs under two PYTHONHASHSEEDs"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
