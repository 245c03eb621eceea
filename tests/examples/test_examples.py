"""Each example runs as a user runs it, and says what its page promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Lines that stand in the output, in this order; `…` at the end: the line goes on.
PROMISED: dict[str, list[str]] = {
    "key_array": [
        "wrote 10 dkeys, 64 records of 8 bytes each",
        "read them back: equal",
        "read records 62 to 65 of day-3: two values, two zeros",
        "10 dkeys: day-0 day-1 day-2 day-3 day-4 day-5 day-6 day-7 day-8 day-9",
        "punched day-7; 9 dkeys are left",
    ],
    "key_value_single": [
        "stored 3 planets, each in one atomic update",
        "read them back: equal",
        "radius of saturn: 58232 km",
        "bytes of that value: 8",
        "note on mercury: None",
        "moons of saturn: 274",
        "refused: DER_EXIST(-1004): …",
        "fields of earth: moons radius",
    ],
    "arrays": [
        "wrote 4 MiB at 0 and 1 MiB at 6 MiB: size 7340032",
        "read them back: equal, and the hole is zero",
        "read 1000 bytes across the edge of the hole into a bytearray",
        "cut to 2097152 bytes",
        "punched the first MiB: zeros again, the second is untouched",
        "as a file, at 1 MiB: [0, 1, 2, 3]",
        "numpy: 100000 cells of 8 bytes, equal",
    ],
    "kv": [
        "sizes: alpha=1 beta=2 gamma=3 delta=0 epsilon=100000",
        "size of a key that is not there: 0",
        "got them back: equal",
        "5 keys: alpha beta delta epsilon gamma",
        "removed beta; 4 keys: alpha delta epsilon gamma",
        "beta in it? False - and get gives None",
        "n90 to n94: {'n90': b'8100', 'n91': b'8281', …",
        "from n97 on: n97 n98 n99",
        "refused: DER_EXIST(-1004): …",
    ],
    "kv_aio": [
        "put 3 keys, concurrently",
        "got them back: equal",
        "keys: alpha beta gamma",
        "removed beta: alpha gamma",
        "size of gamma: 3",
    ],
    "snapshots": [
        "took snapshot 'draft'",
        "now:   publisher='the lab' title='final'",
        "draft: author='Ada' title='first draft'",
        "log:   16 bytes at the snapshot, 31 bytes now",
        "refused: DER_NO_PERM(-1001): …",
        "snapshots, oldest first: draft release",
        "let go of one: release",
    ],
}


def run(example: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / f"{example}.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_every_example_is_here() -> None:
    pages = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert pages - {"demo", "demo_progress"} == set(PROMISED)


@pytest.mark.parametrize("example", PROMISED)
def test_example(example: str) -> None:
    lines = iter(run(example))
    for promise in PROMISED[example]:
        wanted = promise.removesuffix("…")
        for line in lines:
            if line == wanted or (promise.endswith("…") and line.startswith(wanted)):
                break
        else:
            pytest.fail(f"{example} does not say {promise!r}, or not there")


def test_a_directory_can_be_used_again(tmp_path: Path) -> None:
    first = run("snapshots", str(tmp_path / "store"))
    assert run("snapshots", str(tmp_path / "store")) == first
    assert run("key_value_single", str(tmp_path / "store"))[1] == "read them back: equal"
