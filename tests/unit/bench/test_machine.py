"""What a run says of its machine, and where it puts its data."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from bench.machine import (
    bind,
    describe,
    file_system,
    keep_bytecode,
    loop_factory,
    one_cpu,
    pss_bytes,
    scratch,
)
from daos.base.errors import InvalidError


def test_one_cpu_is_left_again() -> None:
    before = os.sched_getaffinity(0)
    with one_cpu() as cpu:
        assert os.sched_getaffinity(0) == {cpu}
    assert os.sched_getaffinity(0) == before


def test_file_systems_are_known() -> None:
    assert file_system(Path("/proc")) == "proc"


def test_scratch_lies_where_it_was_asked_for(tmp_path: Path) -> None:
    with scratch(tmp_path) as place:
        assert place.parent == tmp_path
    assert not place.exists()


def test_scratch_avoids_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.machine.file_system", lambda _path: "tmpfs")
    with pytest.raises(InvalidError, match="--dir"), scratch(None):
        pass


def test_unknown_loops_are_refused() -> None:
    with pytest.raises(InvalidError, match="asyncio or uvloop"):
        loop_factory("trio")


def test_the_machine_is_described(tmp_path: Path) -> None:
    assert describe("asyncio", tmp_path)["loop"] == "asyncio"


def test_running_processes_are_bound() -> None:
    before = os.sched_getaffinity(0)
    with one_cpu() as cpu:
        bind([os.getpid()], before)
        assert os.sched_getaffinity(0) == before
        bind([os.getpid()], {cpu})
        assert os.sched_getaffinity(0) == {cpu}


def test_memory_is_that_of_the_process() -> None:
    with mmap.mmap(-1, 16 << 20) as mine:  # what an allocator is given back it may keep
        mine.write(b"x" * (16 << 20))
        with_it = pss_bytes(os.getpid())
    assert with_it - pss_bytes(os.getpid()) > 15 << 20


def test_bytecode_is_kept_for_processes_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "")
    keep_bytecode(tmp_path)
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    assert os.environ["PYTHONPYCACHEPREFIX"] == str(tmp_path)
