"""That something goes on is seen on a terminal, and nowhere else."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
from typing import TextIO

import pytest

from daos.cli.progress import line, shown
from daos.testing.shard import StoppedClock


def test_the_bar_goes_to_and_fro() -> None:
    assert line("Creating pool 'tank'", 0, 80) == "Creating pool 'tank' [====                ] 0 s"
    assert line("It", 1.0, 80) == "It [     ====           ] 1 s"
    assert line("It", 3.2, 80) == "It [                ====] 3 s"
    assert line("It", 3.4, 80) == "It [               ==== ] 3 s"
    assert line("It", 6.4, 80) == "It [====                ] 6 s"


@pytest.mark.parametrize("width", [1, 3, 10, 25, 40, 60, 80])
def test_it_fits(width: int) -> None:
    for tenth in range(100):
        assert len(line("Creating pool 'tank'", tenth / 10, width)) <= width
    assert line("Creating pool 'tank'", 7, 26) == "Creating pool 'tank' 7 s"
    assert line("Creating pool 'tank'", 7, 10) == "7 s"


async def work(on: TextIO, *, quiet: bool = False) -> None:
    async with shown("It", on=on, quiet=quiet, clock=StoppedClock(), after_s=0, every_s=0.001):
        for _ in range(5):
            await asyncio.sleep(0.002)


def test_a_terminal_shows_it_and_is_clean_afterwards() -> None:
    mine, its = pty.openpty()
    subprocess.run(["stty", "cols", "60"], stdin=its, check=True)
    with open(its, "w") as terminal:
        asyncio.run(work(terminal))
        terminal.write("END")
        terminal.flush()
        text = ""
        while not text.endswith("END"):  # a terminal hands over what it has
            text += os.read(mine, 1 << 16).decode()
        frames = text.removesuffix("END").split("\r\x1b[K")
        assert frames[0] == frames[-1] == ""
        assert len(frames) > 2
        assert set(frames[1:-1]) == {"It [====                ] 0 s"}
        asyncio.run(work(terminal, quiet=True))
        os.set_blocking(mine, False)
        with pytest.raises(BlockingIOError):
            os.read(mine, 1)
    os.close(mine)


def test_nothing_goes_into_a_pipe() -> None:
    pipe = io.StringIO()
    asyncio.run(work(pipe))
    assert pipe.getvalue() == ""


def test_what_is_done_at_once_is_not_shown() -> None:
    mine, its = pty.openpty()

    async def quick(terminal: TextIO) -> None:
        async with shown("It", on=terminal, quiet=False, clock=StoppedClock()):
            await asyncio.sleep(0)

    with open(its, "w") as terminal:
        asyncio.run(quick(terminal))
        os.set_blocking(mine, False)
        with pytest.raises(BlockingIOError):
            os.read(mine, 1)
    os.close(mine)


def test_an_error_passes_through() -> None:
    async def fails() -> None:
        async with shown("It", on=io.StringIO(), quiet=False, clock=StoppedClock()):
            raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(fails())
