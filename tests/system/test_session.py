"""The session of a new user, command by command: real processes from the first to the last.

A system without a configuration is started, used through `dmg` and `daos`, stopped, and started
again: everything is still there, and nothing is left behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
WITHIN_S = 120
NOBODY = 65534


class Machine:
    """A machine with an empty home, for one user."""

    def __init__(self, base: Path, *, uid: int | None = None) -> None:
        self.base = base
        self._uid = uid
        self.storage = base / "s"
        self.environ = {
            **os.environ,
            "HOME": str(base),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "DAOS_SOCKET_DIR": str(base / "r"),
        }

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """A command, as a shell would run it."""
        who = {"user": self._uid, "group": self._uid} if self._uid is not None else {}
        return subprocess.run(
            line.replace("{storage}", str(self.storage)).split(),
            env=self.environ,
            cwd=self.base,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            **who,  # type: ignore[call-overload]  # both are int
        )

    def ok(self, line: str) -> str:
        done = self.run(line)
        assert (done.returncode, done.stderr) == (0, ""), (line, done)
        return str(done.stdout)

    def json(self, line: str) -> object:
        envelope = json.loads(self.ok(f"{line} --json"))
        assert envelope["error"] is None
        return envelope["response"]

    def processes(self) -> list[int]:
        """Whose command line or environment names this machine."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._has(pid)]

    def _has(self, pid: int) -> bool:
        try:
            return str(self.base).encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


@pytest.fixture
def machine() -> Iterator[Callable[..., Machine]]:
    bases: list[Machine] = []

    def make(uid: int | None = None) -> Machine:
        base = Path(tempfile.mkdtemp(dir="/tmp", prefix="ds"))
        if uid is not None:
            os.chown(base, uid, uid)
        bases.append(Machine(base, uid=uid))
        return bases[-1]

    yield make
    for each in bases:
        left = each.processes()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(each.base)
        assert left == []


def the_session(here: Machine, *, again: bool) -> None:
    started = here.ok("daos_server start -s {storage}")
    assert re.search(r"^DAOS Control Server v\S+ \(pid \d+\) listening on ", started, re.M)
    assert re.search(r"^DAOS I/O Engine .* process \d+ started on rank 0", started, re.M)
    if again:
        assert here.ok("dmg pool list -n") == "Pool State\n---- -----\nsxb  Ready\n"
        here.ok("dmg pool destroy sxb --recursive --force")
    assert here.ok("dmg pool list") == "No pools in system\n"

    made = here.ok("dmg pool create sxb -z 4g")
    assert re.fullmatch(
        r"Creating DAOS pool with automatic storage allocation: 4\.0 GB total, 6\.38% storage tier "
        r"ratio\n"
        r"Pool created with \d+\.\d\d%,\d+\.\d\d% storage tier ratio\n"
        r"-+\n"
        rf"  UUID                 : {UUID}\n"
        r"  Service Leader       : 0\n"
        r"  Service Ranks        : 0\n"
        r"  Storage Ranks        : 0\n"
        r"  Total Size           : 4\.0 GB\n"
        r"  Storage tier 0 \(SCM\) : \d+ MB \(\d+ MB / rank\)\n"
        r"  Storage tier 1 \(NVMe\): \d\.\d GB \(\d\.\d GB / rank\)\n",
        made,
    ), made
    pool = made.split("UUID                 : ")[1].split()[0]
    verbose = here.ok("dmg pool list --verbose").splitlines()
    assert verbose[0].split()[:4] == ["Label", "UUID", "State", "SvcReps"]
    assert verbose[2].split()[:4] == ["sxb", pool, "Ready", "0"]

    the_container(here, pool)
    assert here.ok("dmg system query") == "Rank State\n---- -----\n0    Joined\n"
    usage = here.ok("dmg storage query usage").splitlines()
    assert usage[:4] == ["Tier Roles", "---- -----", "T1   data,meta,wal", ""]
    assert usage[4].split() == ["Rank", "T1-Total", "T1-Free", "T1-Usage"]
    assert re.fullmatch(r"0 +\S+ \wB +\S+ \wB +\d+ %", usage[6])
    the_end(here)


def the_container(here: Machine, pool: str) -> None:
    created = here.ok("daos container create sxb --type POSIX sxb")
    container = created.split()[3]
    assert created == (
        f"Successfully created container {container} type POSIX\n"
        f"  Container UUID : {container}\n"
        "  Container Label: sxb\n"
        "  Container Type : POSIX\n"
    )
    query = here.ok("daos container query sxb sxb --verbose")
    assert f"  Container UUID             : {container}\n" in query
    assert f"  Pool UUID                  : {pool}\n" in query
    props = here.ok("daos cont get-prop sxb sxb")
    assert props.startswith("Properties for container sxb\nName ")
    told = dict(
        re.split(r"  +", line, maxsplit=1) for line in props.splitlines()[3:] if "  " in line
    )
    assert told["Layout Type (layout_type)"] == "POSIX"
    assert told["Redundancy Factor (0-4) (rd_fac)"] == "0"
    assert told["Redundancy Level (rank=1, node=2) (rd_lvl)"] == "2"
    assert told["Checksum Chunk Size (cksum_size)"] == "32 KiB"
    assert told["Dedupe Threshold (dedup_threshold)"] == "4.0 KiB"
    assert told["EC Cell Size (ec_cell_sz)"] == "128 KiB"


def the_end(here: Machine) -> None:
    busy = here.run("daos_server start -s {storage}")
    assert busy.returncode == 1
    assert re.search(r"^ERROR: daos_server: .*\b\d+\b", busy.stderr), busy
    here.ok("daos_server stop")
    nothing = here.run("daos_server stop")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("ERROR: daos_server: ")


def test_twice_in_a_row(machine: Callable[..., Machine]) -> None:
    here = machine()
    the_session(here, again=False)
    assert here.processes() == []
    the_session(here, again=True)


def test_as_an_ordinary_user(machine: Callable[..., Machine]) -> None:
    if os.geteuid() != 0:
        pytest.skip("the other test is of an ordinary user already")
    here = machine(uid=NOBODY)
    try:
        here.run(f"{sys.executable} -c pass")
    except PermissionError:
        pytest.skip("an ordinary user may not run this interpreter")
    the_session(here, again=False)


@pytest.fixture
def tank(machine: Callable[..., Machine]) -> Iterator[Machine]:
    """A machine whose system has a pool, `tank`, over two targets."""
    here = machine()
    here.ok("daos_server start -s {storage} -t 2")
    try:
        here.ok("dmg pool create tank -z 256MiB -P reclaim:time")
        yield here
    finally:
        here.ok("daos_server stop")


def test_dmg_pool(tank: Machine) -> None:
    here = tank
    made = here.json("dmg pool create other -z 256MiB")
    assert isinstance(made, dict)
    assert list(made) == [
        *("uuid", "svc_ldr", "svc_reps", "tgt_ranks", "tier_bytes", "mem_file_bytes"),
        "md_on_ssd_active",
    ]
    assert 0 <= (256 << 20) - sum(made["tier_bytes"]) < 1 << 20  # superblocks
    query = here.ok("dmg pool query other")
    assert query.startswith(f"Pool {made['uuid']}, ntarget=2, disabled=0, leader=0, version=1, ")
    info = here.json("dmg pool query tank -e")
    assert isinstance(info, dict)
    assert (info["label"], info["state"], info["enabled_ranks"]) == ("tank", "Ready", [0])
    assert info["status"] == 0
    assert here.json("dmg pool get-prop tank label,space_rb,reclaim") == [
        {"name": "label", "description": "Pool label", "value": "tank"},
        {"name": "space_rb", "description": "Rebuild space ratio", "value": 5},
        {"name": "reclaim", "description": "Reclaim strategy", "value": "time"},
    ]
    assert here.ok("dmg pool get-prop tank").startswith("Pool tank properties:\nName ")
    assert here.ok("dmg pool set-prop tank reclaim:lazy") == "pool set-prop succeeded\n"
    assert "lazy" in here.ok("dmg pool get-prop tank reclaim")
    targets = here.ok("dmg pool query-targets tank --rank 0 --target-idx 1")
    assert targets.startswith("Target: state up_in\n- Storage tier 0 (SCM):\n  Total size: ")
    told = here.json("dmg pool query-targets tank --rank 0")
    assert isinstance(told, dict)
    assert len(told["infos"]) == 2
    assert here.ok("dmg pool evict tank") == "Pool-evict command succeeded\n"


def test_dmg_system(tank: Machine) -> None:
    here = tank
    members = here.json("dmg system query")
    assert isinstance(members, dict)
    (member,) = members["members"]
    assert (member["rank"], member["state"]) == (0, "joined")
    verbose = here.ok("dmg system query --verbose").splitlines()
    assert verbose[0].split("  ")[0].split()[:2] == ["Rank", "UUID"]
    assert verbose[2].split()[1] == member["uuid"]
    assert here.ok("dmg system query --not-ok") == "Query matches no ranks in system\n"
    assert here.ok("dmg system leader-query").startswith("Current Leader: ")
    assert here.ok("dmg system set-attr site:lab") == "system set-attr succeeded\n"
    assert here.json("dmg system get-attr") == {"attributes": {"site": "lab"}}
    assert here.ok("dmg system del-attr site") == "system del-attr succeeded\n"
    assert here.ok("dmg system get-attr") == "No system attributes found.\n"
    assert "daos_server" in here.ok("dmg system get-prop daos_system")
    stopped = here.ok("dmg system stop")
    assert stopped == "Rank Operation Result\n---- --------- ------\n0    stop      OK\n"
    assert here.ok("dmg system query") == "Rank State\n---- -----\n0    Stopped\n"
    assert "0    start     OK\n" in here.ok("dmg system start")
    assert here.ok("dmg pool list -n") == "Pool State\n---- -----\ntank Ready\n"
    pools = here.ok("dmg storage query list-pools")
    assert re.search(rf"^    UUID:{UUID}\n      Rank:0 Targets:\[0 1\]$", pools, re.M)


def test_dmg_used_wrongly(tank: Machine) -> None:
    here = tank
    for line, text in (
        ("dmg pool create tank -z 256MiB", "tank"),
        ("dmg pool create x", "unsupported option combination"),
        ("dmg pool create x -z 1g -s 1g", "unsupported option combination"),
        ("dmg pool create x -n 1g", "--nvme-size needs --scm-size"),
        ("dmg pool create bad/label -z 1g", "label"),
        ("dmg pool create x -z 1zb", "unknown unit"),
        ("dmg pool create x -z 1g -P nonsense:1", "no property"),
        ("dmg pool create x -z 1g -t 50,60", "--tier-ratio"),
        ("dmg pool query nosuch", "nosuch"),
        ("dmg pool destroy nosuch", "nosuch"),
        ("dmg system query -r 1-0", "--ranks"),
        ("dmg system stop -r 7", "7"),
        ("dmg -l 127.0.0.1:1 pool list", "127.0.0.1:1"),
        ("dmg -o none.yml pool list", "none.yml"),
        ("dmg pool", ""),
    ):
        done = here.run(line)
        assert done.returncode == 1, (line, done)
        assert "Traceback" not in done.stderr, (line, done)
        assert text in done.stderr + done.stdout, (line, done)
    assert here.ok("dmg pool destroy tank") == "Pool-destroy command succeeded\n"


def test_places_that_can_not_be_used(machine: Callable[..., Machine]) -> None:
    here = machine(uid=NOBODY) if os.geteuid() == 0 else machine()
    try:
        here.run(f"{sys.executable} -c pass")
    except PermissionError:
        pytest.skip("an ordinary user may not run this interpreter")
    here.environ.pop("DAOS_SOCKET_DIR")
    here.environ["HOME"] = "/proc/nowhere"
    done = here.run("daos_server start")
    assert done.returncode == 1
    assert "can't use /proc/nowhere/.daos" in done.stderr
    assert "Traceback" not in done.stderr
    for line, text in (
        ("dmg pool list", "`daos_server start` starts a system"),
        ("daos pool list", "start one with `daos_server start`"),
        ("daos_server stop", "no server runs in /proc/nowhere/.daos/run"),
    ):
        done = here.run(line)
        assert (done.returncode, done.stdout) == (1, ""), (line, done)
        assert text in done.stderr, (line, done)
        assert "Traceback" not in done.stderr
