"""The command line of `daos_engine`, up to where processes begin."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from daos.base.errors import InvalidError
from daos.cart.transport.ranks import RankUri, this_host
from daos.cli import engine
from daos.engine import logmask, process
from daos.engine.config import EngineConfig
from daos.engine.modules import Modules
from daos.engine.sched_core import SchedConfig

Started = list[tuple[EngineConfig, list[str]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """What would have been started."""
    found: Started = []

    def start(config: EngineConfig, modules: Modules) -> int:
        found.append((config, modules.names))
        return 0

    monkeypatch.setattr(process, "start", start)
    monkeypatch.setattr(engine, "_log", lambda environ: None)
    for name in ("D_INTERFACE", "D_PORT"):
        monkeypatch.delenv(name, raising=False)
    return found


def places(tmp_path: Path) -> list[str]:
    return ["-s", str(tmp_path / "storage"), "-d", str(tmp_path / "sockets")]


def test_what_the_options_say(started: Started, tmp_path: Path) -> None:
    options = ["-t", "3", "-x", "3", "-g", "mine", "-I", "1", "-m", "obj,pool,co,management"]
    assert engine.main([*options, *places(tmp_path)]) == 0
    ((config, names),) = started
    assert names == ["obj", "pool", "cont", "mgmt"]
    assert (config.targets, config.group, config.instance) == (3, "mine", 1)
    assert config.uri == RankUri(tmp_path / "sockets", host=this_host())
    assert config.is_new
    for path in (config.storage, config.sockets):
        assert path.stat().st_mode & 0o777 == 0o700


def test_where_the_environment_says(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D_INTERFACE", "lo")
    monkeypatch.setenv("D_PORT", "31416")
    assert engine.main(places(tmp_path)) == 0
    ((config, names),) = started
    assert config.uri == RankUri(tmp_path / "sockets", ("127.0.0.1", 31416), host=this_host())
    assert names == ["mgmt", "pool", "cont", "obj"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-n", "x.conf"], "-n is not supported: a configuration of NVMe"),
        (["-C"], "-C is not supported: check mode"),
        (["-c", "4"], "-c is not supported: the old name of -t"),
        (["-t", "0"], "1 to 64 targets"),
        (["-x", "3"], "0 to 2 helpers for 1 targets"),
        (["-g", "x" * 16], "a name of 1 to 15 characters"),
        (["-I", "-1"], "numbers from 0 on"),
        (["-m", "obj,"], "names with commas between"),
        (["-m", "x" * 65], "at most 64 characters"),
        (["-p", "999"], "no NUMA node 999"),
        (["-f", "9999"], "first core 9999"),
        (["--strange"], "unrecognized arguments"),
    ],
)
def test_wrong_usage(
    options: Sequence[str],
    complaint: str,
    started: Started,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        engine.main([*options, *places(tmp_path)])
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err
    assert started == []


@pytest.mark.parametrize(
    ("mask", "level"),
    [("", logging.INFO), ("err", logging.ERROR), ("DEBUG,MEM=ERR", logging.DEBUG), ("MEM=ERR", 20)],
)
def test_what_is_logged(mask: str, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, int]] = []
    monkeypatch.setattr(logmask, "apply", told.append)
    engine._log({"D_LOG_MASK": mask})
    assert told == [{"": level}]
    with pytest.raises(InvalidError, match=r"D_LOG_MASK: .*is none of DEBUG, "):
        engine._log({"D_LOG_MASK": "LOUD"})


@pytest.mark.parametrize(
    ("interface", "port", "complaint"),
    [("lo", "0", "a port from 1 to"), ("nowhere0", "31416", "D_INTERFACE=nowhere0")],
)
def test_a_wrong_environment(
    interface: str,
    port: str,
    complaint: str,
    started: Started,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("D_INTERFACE", interface)
    monkeypatch.setenv("D_PORT", port)
    with pytest.raises(SystemExit):
        engine.main(places(tmp_path))
    assert complaint in capsys.readouterr().err


def test_modules_that_there_are_not(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine.main(["-m", "mgmt,plool", *places(tmp_path)]) == 1
    assert "did you mean 'pool'?" in capsys.readouterr().err
    assert started == []


def test_how_it_schedules() -> None:
    assert engine._sched({}) == SchedConfig(prioritised=True, turn_ms_max=32)
    told = {"DAOS_SCHED_PRIO_DISABLED": "1", "DAOS_SCHED_UNIT_RUNTIME_MAX": "100"}
    assert engine._sched(told) == SchedConfig(prioritised=False, turn_ms_max=100)
    for wrong in ("0", "-1", "abc", "60001", ""):
        with pytest.raises(InvalidError, match="milliseconds, 1 to 60000"):
            engine._sched({"DAOS_SCHED_UNIT_RUNTIME_MAX": wrong})
