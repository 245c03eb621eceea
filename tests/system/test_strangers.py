"""Another user of this host, before whom every directory and socket stands open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daos.testing.own_system import OwnSystem

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")

ROOT = Path(__file__).parents[2]
DENIED = "is for root alone, not for uid 65534"


@pytest.fixture
def system() -> Iterator[OwnSystem]:
    with OwnSystem(os.environ) as system:
        yield system


def as_stranger(system: OwnSystem, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.system.stranger", *command],
        capture_output=True,
        text=True,
        env=system.environ,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


def open_wide(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o777)


def test_another_user_is_refused_everywhere_and_told_why(system: OwnSystem) -> None:
    system.start()
    system.run("dmg", "pool", "create", "tank", "--size", "256MiB")
    open_wide(system.base)

    told = as_stranger(system, "tests.system.stranger_calls", str(system.sockets))
    lines = told.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"sm", "engine", "server", "agent"}, told
    for line in lines:
        assert "NO_PERM" in line, line
        assert DENIED in line, line

    for command in (("dmg", "pool", "list"), ("daos", "container", "list", "tank")):
        done = as_stranger(system, f"daos.cli.{command[0]}", *command[1:])
        assert done.returncode == 1, done
        assert DENIED in done.stderr, done.stderr

    # Nobody else noticed.
    assert "tank" in system.run("dmg", "pool", "list").stdout
    system.run("daos", "container", "create", "tank", "c1")
    log = next((system.base / "storage").rglob("*engine*.log"), None)
    assert log is None or "refused uid=65534" in log.read_text()
    system.stop()
    assert system.left() == []


def test_the_agent_of_a_configured_host_serves_all_its_users(system: OwnSystem) -> None:
    """As the reference's, whose socket has mode 0666: the machine's agent is everybody's."""
    system.start()
    own = system.base / "agent"
    config = system.base / "agent.yml"
    config.write_text(
        f"runtime_dir: {own}\naccess_points: ['unix:{system.sockets}/control.sock']\n"
        "transport_config:\n  allow_insecure: true\n"
    )
    agent = subprocess.Popen(
        [sys.executable, "-m", "daos.cli.agent", "-o", str(config)], env=system.environ
    )
    try:
        while not (own / "daos_agent.sock").exists():
            assert agent.poll() is None
        told = as_stranger(system, "tests.system.stranger_calls", str(own))
        assert "agent taken" in told.stdout, told
    finally:
        agent.terminate()
        agent.wait()
    system.stop()
