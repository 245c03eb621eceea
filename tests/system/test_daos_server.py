"""`daos_server` as people run it: real engines, a real agent, every process that there will be."""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
from google.protobuf.message import Message

import daos
from daos.base.clock import SystemClock
from daos.base.errors import DER, DaosError
from daos.control.access import Component
from daos.control.client import ControlClient, checked
from daos.control.places import AGENT_DIR, SOCKET_DIR
from daos.proto import mgmt_pb2 as pb
from daos.testing.own_system import OwnSystem

M = TypeVar("M", bound=Message)
WITHIN_S = 60.0


@pytest.fixture
def system() -> Iterator[OwnSystem]:
    with OwnSystem(os.environ) as system:
        yield system


def ask(system: OwnSystem, method: str, request: Message, reply: type[M]) -> M:
    async def main() -> M:
        async with ControlClient(
            [f"unix:{system.sockets}/control.sock"],
            component=Component.ADMIN,
            clock=SystemClock(),
            rng=random.SystemRandom(),
        ) as control:
            return await control.ask(method, request, reply, timeout_s=WITHIN_S)

    return asyncio.run(main())


def create(system: OwnSystem, label: str) -> None:
    request = pb.PoolCreateReq(
        uuid=str(uuid4()),
        properties=[pb.PoolProperty(number=1, strval=label)],
        total_bytes=4 * (64 << 20),
    )
    checked(ask(system, "PoolCreate", request, pb.PoolCreateResp), label)


def labels(system: OwnSystem) -> list[str]:
    return [
        each.label for each in ask(system, "ListPools", pb.ListPoolsReq(), pb.ListPoolsResp).pools
    ]


def ended(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(WITHIN_S * 1000)
    os.close(pidfd)


def test_without_a_configuration_twice_in_a_row(system: OwnSystem) -> None:
    for turn in range(2):
        # How many targets an engine has need be said but once.
        said = system.start(*(() if turn else ("-t", "2"))).splitlines()
        assert said[0].startswith("DAOS Control Server v0.1.0 (pid ")
        assert said[0].endswith(f") listening on unix:{system.sockets}/control.sock")
        assert " started on rank 0 with 2 target, 0 helper XS, " in said[1]
        assert said[2].startswith("DAOS system 'daos_server' is ready: storage in ")
        assert labels(system) == ["tank"] * turn
        if turn == 0:
            create(system, "tank")
        second = system.run("daos_server", "start", check=False)
        pid = said[0].split("(pid ")[1].split(")")[0]
        assert second.returncode == 1
        assert f"runs already in {system.sockets}: process {pid};" in second.stderr
        dump = system.run("daos_agent", "dump-attachinfo").stdout
        assert dump.startswith("name daos_server\nsize 1\nall\n0 sm://")
        assert dump.endswith(f"{system.sockets}\n")
        for path in (system.sockets, system.base / "storage"):
            assert path.stat().st_mode & 0o077 == 0
        assert system.stop() == f"DAOS Control Server (pid {pid}) has stopped\n"
        assert system.left() == []
        nothing = system.run("daos_server", "stop", check=False)
        assert (nothing.returncode, nothing.stdout) == (1, "")
        assert nothing.stderr == f"ERROR: daos_server: no server runs in {system.sockets}\n"


def test_killed_servers_leave_engines_that_the_next_one_ends(system: OwnSystem) -> None:
    system.start()
    create(system, "tank")
    (server,) = system.pids("daos.cli.server")
    engines = system.pids("daos.cli.engine")
    assert len(engines) == 5
    os.kill(server, signal.SIGKILL)
    ended(server)
    assert set(engines) <= set(system.pids())
    system.start()
    assert not set(engines) & set(system.pids())
    assert labels(system) == ["tank"]
    system.stop()
    assert system.left() == []


def test_a_target_that_is_killed_takes_its_rank_with_it_and_comes_back(system: OwnSystem) -> None:
    system.start()
    create(system, "tank")
    engines = system.pids("daos.cli.engine")
    os.kill(max(engines), signal.SIGKILL)
    for pid in engines:
        ended(pid)
    assert labels(system) == ["tank"]  # asked until the rank is there again
    assert len(system.pids("daos.cli.engine")) == 5
    system.stop()
    assert system.left() == []


def sockets(system: OwnSystem) -> set[str]:
    return {path.name for path in system.sockets.iterdir() if path.is_socket()}


def test_sockets_of_a_killed_engine_go_with_it(system: OwnSystem) -> None:
    system.start()
    before = sockets(system)
    for _ in range(2):  # at once, then no more often than each 300 s
        assert labels(system) == []  # it serves
        parent = min(system.pids("daos.cli.engine"))
        os.kill(parent, signal.SIGKILL)
        ended(parent)
        for _ in range(1000):
            ask(system, "SystemQuery", pb.SystemQueryReq(), pb.SystemQueryResp)
            if f"daos_engine_{parent}.sock" not in sockets(system):
                break
    own = {name for name in before if name[0].isdigit() or name.startswith("daos_engine")}
    assert len(own) == 6
    assert sockets(system) == before - own
    assert "Errored" in system.run("dmg", "system", "query").stdout
    system.stop()
    assert system.left() == []


def locks(system: OwnSystem) -> list[str]:
    """Held ones, of files below the directory."""
    inodes = {path.stat().st_ino for path in system.base.rglob("*") if path.is_file()}
    lines = Path("/proc/locks").read_text().splitlines()
    return [line for line in lines if int(line.split()[5].rpartition(":")[2]) in inodes]


def test_all_killed_at_once_leaves_nothing_that_a_start_and_a_stop_do_not_remove(
    system: OwnSystem,
) -> None:
    system.start()
    create(system, "tank")
    assert locks(system)
    before = sockets(system)
    pids = system.pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        ended(pid)
    assert locks(system) == []
    done = system.run("daos", "container", "list", "tank", check=False)
    assert (done.returncode, "DER_UNREACH" in done.stderr) == (1, True), done
    system.start()
    assert labels(system) == ["tank"]
    stale = {name for name in before if name.startswith("daos_engine")}
    assert not stale & sockets(system)
    system.stop()
    assert system.left() == []
    assert locks(system) == []


CONFIG = """\
name: lab
mgmt_svc_replicas: [localhost]
transport_config:
  allow_insecure: true
port: {port}
provider: sm
socket_dir: {base}/run
engines:
- targets: 1
  storage: [{{class: ram, scm_mount: {base}/e0}}]
- targets: 1
  log_file: {base}/log/e1.log
  storage: [{{class: ram, scm_mount: {base}/e1}}]
"""


def test_with_a_configuration_in_front(system: OwnSystem) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = system.base / "daos_server.yml"
    path.write_text(CONFIG.format(port=port, base=system.base))
    server = subprocess.Popen(
        [sys.executable, "-m", "daos.cli.server", "-o", str(path), "start", "--auto-format"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=system.environ,
    )
    assert server.stdout is not None
    said = [server.stdout.readline() for _ in range(3)]
    assert said[0].endswith(f"listening on 0.0.0.0:{port}\n")
    assert " on rank 0 " in said[1]
    assert " on rank 1 " in said[2]
    assert [
        each.state
        for each in ask(
            system, "SystemQuery", pb.SystemQueryReq(sys="lab"), pb.SystemQueryResp
        ).members
    ] == ["joined", "joined"]
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=WITHIN_S)
    assert server.returncode == 0
    assert "NOTICE: " in errors
    assert system.left() == []


def test_closed_standard_streams(system: OwnSystem) -> None:
    program = f"{sys.executable} -m daos.cli.server start -s {system.base}/storage -t 1"
    closed = subprocess.run(
        ["sh", "-c", f"{program} <&- >&- 2>&-"], env=system.environ, check=False, timeout=WITHIN_S
    )
    assert closed.returncode == 0
    assert labels(system) == []
    system.stop()
    assert system.left() == []


def test_nobody_reads_what_it_says(system: OwnSystem) -> None:
    """A line that can't be written ends no engine."""
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "daos.cli.server", "start", "--foreground"),
            *("-t", "1", "-s", str(system.base / "storage")),
        ],
        stdout=subprocess.PIPE,
        env=system.environ,
    )
    assert server.stdout is not None
    server.stdout.readline()  # it listens; its engine is not ready yet
    server.stdout.close()
    assert labels(system) == []
    server.send_signal(signal.SIGHUP)
    assert server.wait(WITHIN_S) == 0
    assert system.left() == []


def test_what_is_wrong_is_told_in_words(system: OwnSystem) -> None:
    path = system.base / "s.yml"
    path.write_text("name: lab\nengins: []\n")
    done = system.run("daos_server", "-o", str(path), "start", check=False)
    told = f"{path}:2: unknown key 'engins'; did you mean 'engines'?"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"ERROR: daos_server: {told}\n")
    done = system.run("daos_server", "-j", "-o", str(path), "start", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"response": None, "error": told, "status": -1003}
    path.write_text("name: lab\nengines: []\n")
    done = system.run("daos_server", "-o", str(path), "start", check=False)
    assert done.stderr.splitlines()[0].startswith("ERROR: daos_server: serverconfig: code = 708 ")
    assert done.stderr.splitlines()[1].startswith(
        'ERROR: daos_server: serverconfig: code = 708 resolution = "specify at least one'
    )
    assert system.run("daos_server", "start", "--port", "x", check=False).returncode == 1
    version = system.run("daos_server", "version").stdout
    assert version == "daos_server version 0.1.0\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [("x" * 80, "has a path of at most"), ("a,b", "has no comma in its path")],
)
def test_directories_in_which_no_socket_can_be_reached(
    system: OwnSystem, name: str, why: str
) -> None:
    system.sockets = system.base / name
    system.environ[SOCKET_DIR] = system.environ[AGENT_DIR] = str(system.sockets)
    done = system.run("daos_server", "start", "-s", str(system.base / "storage"), check=False)
    assert done.returncode == 1
    assert why in done.stderr
    assert system.left() == []


def test_directories_of_any_other_name(system: OwnSystem) -> None:
    system.sockets = system.base / "ü 50% #[1]?"
    system.environ[SOCKET_DIR] = system.environ[AGENT_DIR] = str(system.sockets)
    system.start("-t", "1")
    create(system, "tank")
    system.run("daos", "container", "create", "tank", "c1")
    assert "tank" in system.run("dmg", "pool", "list").stdout
    system.stop()
    assert system.left() == []


def test_a_start_that_fails_leaves_nothing(system: OwnSystem) -> None:
    done = system.run(
        "daos_server", "start", "-s", str(system.base / "storage"), "-m", "nonsense", check=False
    )
    assert done.returncode == 1
    assert "ERROR: daos_server: " in done.stderr
    assert "engine 0: exit status" in done.stderr
    assert system.left() == []


def test_data_needs_neither_server_nor_agent(
    system: OwnSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.start("-t", "1")
    create(system, "tank")
    monkeypatch.setenv("DAOS_AGENT_DRPC_DIR", str(system.sockets))
    with daos.connect() as client:
        kv = client.pool("tank").create_container("c1").kv()
        kv["before"] = b"1"
        (server,), (agent,) = system.pids("daos.cli.server"), system.pids("daos.cli.agent")
        os.kill(server, signal.SIGKILL)
        os.kill(agent, signal.SIGKILL)
        ended(server)
        ended(agent)
        kv["after"] = b"2"
        assert (kv["before"], kv["after"]) == (b"1", b"2")
        with pytest.raises(DaosError) as caught:
            daos.connect()
        assert caught.value.code is DER.UNREACH
        system.start()
        kv["later"] = b"3"  # the same handle, though the rank is another process
    with daos.connect() as client:
        again = client.pool("tank").container("c1").kv(kv.oid)
        assert [again[key] for key in ("before", "after", "later")] == [b"1", b"2", b"3"]
    system.stop()
    assert system.left() == []
