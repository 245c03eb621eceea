"""The units for systemd name commands and options that there are, and wait as these tell."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from daos.cli import agent, server
from tests.tidy.tree import ROOT

UNITS = sorted((ROOT / "packaging/systemd").glob("*.service"))
PROGRAMS = {"daos_server": server.TOOL, "daos_agent": agent.TOOL}


def read(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    return unit


def test_there_is_one_for_each_program() -> None:
    assert [path.stem for path in UNITS] == sorted(PROGRAMS)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_its_command_exists(path: Path) -> None:
    program, *words = shlex.split(read(path)["Service"]["ExecStart"])
    assert program == f"/usr/bin/{path.stem}"
    command: click.Command = PROGRAMS[path.stem]
    for word in words:
        if word.startswith("-"):
            options = {name for each in command.params for name in each.opts}
            assert word in options
        else:
            assert isinstance(command, click.Group)
            command = command.commands[word]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_it_waits_until_the_program_says_it_is_ready(path: Path) -> None:
    service = read(path)["Service"]
    assert service["Type"] == "notify"
    assert service["RuntimeDirectory"] == path.stem  # as in daos.control.places


def test_a_reload_is_a_signal_that_the_agent_hears() -> None:
    reload = read(ROOT / "packaging/systemd/daos_agent.service")["Service"]["ExecReload"]
    assert reload == "/bin/kill -USR2 $MAINPID"
    assert "SIGUSR2" in (agent.__doc__ or "")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_reads_it(path: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/usr/bin/daos_", "/bin/true daos_"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert path.stem not in done.stderr, done.stderr
