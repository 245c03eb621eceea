"""`dmg` against a server whose engines are fakes: what it says, and what it says of wrong use."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daos.cli import agent
from daos.cli.dmg import TOOL
from daos.cli.frame import main
from tests.system.control import Running, config, run

Run = Callable[..., tuple[int, str, str]]
HOST = socket.gethostname()


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server in a thread, with two engines, and a pool `tank`."""
    base = tmp_path_factory.mktemp("d")
    ready, end = threading.Event(), threading.Event()

    async def scenario(running: Running) -> None:
        import asyncio

        ready.set()
        await asyncio.to_thread(end.wait)

    asked = config(base, engines=2)
    thread = threading.Thread(target=run, args=(asked, scenario))
    thread.start()
    assert ready.wait(60)
    yield asked.sockets
    end.set()
    thread.join()


@pytest.fixture
def dmg(sockets: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DAOS_SOCKET_DIR", str(sockets))

    def runner(line: str) -> tuple[int, str, str]:
        status = main(TOOL, line.split())
        out, err = capsys.readouterr()
        return status, out, err

    return runner


def ok(result: tuple[int, str, str]) -> str:
    status, out, err = result
    assert (status, err) == (0, ""), result
    return out


def test_storage(dmg: Run, sockets: Path) -> None:
    text = ok(dmg("storage scan"))
    assert text.splitlines()[2].startswith(f"{HOST} ")
    assert "(2 namespaces) 0 B (0 controllers)" in text
    assert f"{sockets.parent}/engine1" in ok(dmg("sto scan -v"))
    text = ok(dmg("storage query usage"))
    assert text.startswith(
        "Tier Roles\n---- -----\nT1   data,meta,wal\n\nRank T1-Total T1-Free T1-"
    )
    assert text.endswith("Ranks 0-1 share one file system.\n")
    assert "T1-Usable" in ok(dmg("storage query usage --show-usable"))
    found = json.loads(ok(dmg("storage query usage -j")))["response"]
    (of_host,) = found["HostStorage"].values()
    assert of_host["hosts"] == HOST
    assert [each["mount"]["rank"] for each in of_host["storage"]["scm_namespaces"]] == [0, 1]
    assert found["host_errors"] == {}
    line = "-" * len(HOST)
    assert ok(dmg("storage query list-pools")) == f"{line}\n{HOST}\n{line}\n  No pools found\n"
    assert ok(dmg("storage query list-devices -r 1")).endswith("  No devices found\n")


def test_networks_and_logs(dmg: Run) -> None:
    assert "        lo         ofi+tcp\n" in ok(dmg("network scan"))
    made = json.loads(ok(dmg("cfg gen -c loopback -e 2 -j")))["response"]
    assert [each["fabric_iface"] for each in made["engines"]] == ["lo", "lo"]
    updated = f"Engine log-masks updated successfully on the following host(s): {HOST}\n"
    assert ok(dmg("server set-logmasks -m ERR,mgmt=DEBUG")) == updated
    assert ok(dmg("srv slm")) == updated
    assert ok(dmg("server-version")) == "daos_server version 0.1.0\n"


def test_the_agent_tells_the_same_interfaces(dmg: Run, capsys: pytest.CaptureFixture[str]) -> None:
    there = json.loads(ok(dmg("network scan -j")))["response"]
    assert main(agent.TOOL, ["net-scan", "-j"]) == 0
    here = json.loads(capsys.readouterr().out)
    assert (here["status"], here["error"]) == (0, None)
    assert here["response"]["host_errors"] == {}
    assert here["response"]["HostFabrics"] == there["HostFabrics"]
    assert main(agent.TOOL, ["net-scan"]) == 0
    assert capsys.readouterr().out == ok(dmg("network scan"))


def test_cleanup_of_a_machine_that_left_nothing(dmg: Run) -> None:
    assert ok(dmg("system cleanup nowhere")) == "No handles cleaned up\n"
    answer = json.loads(ok(dmg("system cleanup nowhere -j")))
    assert answer == {"response": {"results": []}, "error": None, "status": 0}


def test_pools(dmg: Run) -> None:
    assert ok(dmg("pool list")) == ok(dmg("pool list -r")) == "No pools in system\n"
    made = ok(dmg("pool create tank -z 1g"))
    assert made.startswith("Creating DAOS pool with automatic storage allocation: 1.0 GB total")
    try:
        status, _, err = dmg("pool create other -z 1g -t 50,50 --nsvc 2")
        assert status == 0
        assert [line.partition(" is not used: ")[0] for line in err.splitlines()] == [
            "NOTICE: dmg: --tier-ratio",
            "NOTICE: dmg: --nsvc 2",
        ]
        ok(dmg("pool destroy other"))
        assert ok(dmg("pool list -n")) == "Pool State\n---- -----\ntank Ready\n"
        assert ok(dmg("sys list-pools -r")) == "No pools in system\n"
        found = json.loads(ok(dmg("pool query tank -j")))["response"]
        assert found["sys_self_heal_policy"] == "exclude;pool_exclude;pool_rebuild"
        found = json.loads(ok(dmg("pool query tank -j --no-self-heal-check")))["response"]
        assert "sys_self_heal_policy" not in found
    finally:
        assert ok(dmg("pool destroy tank")) == "Pool-destroy command succeeded\n"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "pool query nosuch",
            "DER_NONEXIST(-1005): pool 'nosuch': the specified entity does not exist; "
            "`dmg pool list` lists those that there are",
        ),
        ("network scan -p verbs", "no provider 'verbs'; there is ofi+tcp, or say all"),
        ("config generate -f 1,x", "--fabric-ports: 'x' is no port; expected like 31316,32316"),
        ("system erase", "DER_BUSY(-1012): not all ranks are stopped: 0-1 run; `dmg system stop`"),
        ("system query --with-states joyned", "there is no state 'joyned'; there are Unknown"),
        ("pool list -n -r", "--rebuild-only asks the pools, --no-query does not: give one"),
        ("pool create x -z lots", "size 'lots': expected a number and a unit, like '512MB'"),
    ],
)
def test_wrong_use(dmg: Run, line: str, text: str) -> None:
    status, out, err = dmg(line)
    assert (status, out) == (1, "")
    assert err.startswith(f"ERROR: dmg: {text}")
    status, out, err = dmg(f"{line} -j")
    assert (status, err) == (1, "")
    assert json.loads(out)["status"] < 0


def test_what_runs_is_not_formatted(dmg: Run) -> None:
    status, out, err = dmg("storage format --force")
    assert status == 1
    assert out.startswith("Format Summary:\n")
    assert "rank 0 runs on it; `dmg system stop` stops it" in err


def test_hosts_that_are_not_there(dmg: Run, sockets: Path, tmp_path: Path) -> None:
    status, out, err = dmg(f"-l unix:{tmp_path}/no.sock storage scan")
    assert (status, out) == (1, "")
    assert 'resolution = "verify that the server address is correct' in err
    status, out, err = dmg("storage scan -l 127.0.0.1:1,127.0.0.1:2 -j")
    assert (status, err) == (1, "")
    answer = json.loads(out)
    assert answer["status"] == -1025
    assert answer["error"].count("refused the connection") == 2
    assert answer["response"]["HostStorage"] == {}


def test_what_is_done_is_logged(sockets: Path, tmp_path: Path) -> None:
    plain, lines = tmp_path / "dmg.log", tmp_path / "dmg.json"

    def dmg(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "daos.cli.dmg", *line.split()],
            env={**os.environ, "DAOS_SOCKET_DIR": str(sockets)},
            capture_output=True,
            text=True,
            check=False,
        )

    done = dmg(f"-d --log-file {plain} --allow-proxy pool list")
    assert (done.stdout, done.stderr) == ("No pools in system\n", "")
    assert re.search(r"control.sock is asked: mgmt.MgmtSvc.ListPools\n", plain.read_text())
    assert dmg(f"--log-file {lines} -J -d system query").returncode == 0
    told = [json.loads(line)["message"] for line in lines.read_text().splitlines()]
    assert any("is asked: mgmt.MgmtSvc.SystemQuery" in message for message in told)
    done = dmg(f"--log-file {tmp_path}/no/dmg.log pool list")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}/no/dmg.log" in done.stderr
    assert "Traceback" not in done.stderr


def test_configuration_files(dmg: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAOS_SOCKET_DIR")
    file = tmp_path / "control.yml"
    for text, said in (
        (None, f"{file} does not exist"),
        ("a: [", f"{file}:"),
        ("hostlst: [a]", f"{file}:1: unknown key 'hostlst'; did you mean 'hostlist'?"),
        ("hostlist: [a]", "certificates are not supported yet"),
    ):
        if text is not None:
            file.write_text(text)
        status, _, err = dmg(f"-o {file} pool list")
        assert status == 1
        assert said in err
