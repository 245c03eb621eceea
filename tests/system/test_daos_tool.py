"""`daos` against a served system, through an agent: text, JSON, exit status, wrong use."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import daos
from daos.base.errors import DER, DaosError, NotFoundError
from daos.cli import autotest
from daos.cli.daos import TOOL
from daos.cli.frame import main
from daos.embedded.remote import connect
from daos.testing.served import Served
from tests.system.agent import SmallAgent

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def agent() -> Iterator[SmallAgent]:
    """A served system with a pool, `tank`."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        with (
            Served(directory, "--targets", "2") as served,
            SmallAgent(directory, directory / "s") as agent,
        ):
            with connect(served.address) as system:
                system.admin.pool_create("tank", size="128MiB")
            yield agent


@pytest.fixture
def run(
    agent: SmallAgent, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    monkeypatch.setenv("DAOS_AGENT_DRPC_DIR", str(agent.socket.parent))

    def runner(line: str) -> tuple[int, str, str]:
        status = main(TOOL, line.split())
        out, err = capsys.readouterr()
        return status, out, err

    return runner


def ok(result: tuple[int, str, str]) -> str:
    status, out, err = result
    assert (status, err) == (0, ""), result
    return out


def test_a_container_from_its_making_to_its_end(run: Run) -> None:
    made = ok(run("container create tank --type POSIX life"))
    uuid = made.split()[3]
    assert made == (
        f"Successfully created container {uuid} type POSIX\n"
        f"  Container UUID : {uuid}\n"
        f"  Container Label: life\n"
        f"  Container Type : POSIX\n"
    )
    assert ok(run("cont list tank")) == (
        f"Containers in pool tank:\n  Label UUID\n  ----- ----\n  life  {uuid}\n"
    )
    assert json.loads(ok(run("cont ls tank -j")))["response"] == [{"uuid": uuid, "label": "life"}]
    for line in ("", " -v", " -j"):
        assert ok(run("pool list-containers tank" + line)) == ok(run("cont list tank" + line))
    query = ok(run("container query tank life --verbose"))
    assert f"  Container UUID             : {uuid}\n" in query
    assert "  Container Type             : POSIX\n" in query
    assert "  Number of open handles     : 1\n" in query
    assert query.splitlines()[-4:] == [
        "  Object Class               : UNKNOWN",
        "  Dir Object Class           : S1",
        "  File Object Class          : SX",
        "  Chunk Size                 : 1.0 MiB",
    ]
    found = json.loads(ok(run("cont query tank life --json")))["response"]
    assert found["container_label"] == "life"
    assert found["health"] == "HEALTHY"
    assert (found["file_object_class"], found["chunk_size"]) == ("SX", 1 << 20)
    assert (found["hints"], found["cons_mode"]) == ("", "relaxed")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} \w+", found["open_time"])
    assert ok(run(f"cont destroy tank {uuid}")) == (f"Successfully destroyed container {uuid}\n")
    assert ok(run("cont list tank")) == "No containers.\n"


def test_properties(run: Run) -> None:
    ok(run("cont create tank props --properties cksum:crc32,cksum_size:64KiB"))
    text = ok(run("cont get-prop tank props"))
    lines = text.splitlines()
    assert lines[0] == "Properties for container props"
    assert lines[1].split() == ["Name", "Value"]
    assert "Checksum (cksum)" in text
    assert re.search(r"^Label \(label\) +props$", text, re.M)
    rows = json.loads(ok(run("cont get-prop tank props cksum,cksum_size -j")))["response"]
    assert rows == [
        {"name": "cksum", "description": "Checksum", "value": "crc32"},
        {"name": "cksum_size", "description": "Checksum Chunk Size", "value": 65536},
    ]
    assert ok(run("cont set-prop tank props label:other")) == "Properties were successfully set\n"
    status, _, err = run("cont set-prop tank other cksum:off")
    assert status == 1
    assert err.startswith("ERROR: daos: ")
    assert "cksum" in err
    status, _, err = run("cont get-prop tank other chksum")
    assert status == 1
    assert "did you mean 'cksum'?" in err
    ok(run("cont destroy tank other"))


@pytest.mark.parametrize(("what", "ids"), [("pool", "tank"), ("cont", "tank attrs")])
def test_attributes(run: Run, what: str, ids: str) -> None:
    ok(run("cont create tank attrs"))
    kind, name = ("pool", "tank") if what == "pool" else ("container", "attrs")
    assert ok(run(f"{what} list-attr {ids}")) == (
        f"Attributes for {kind} {name}:\n  No attributes found.\n"
    )
    assert ok(run(f"{what} set-attr {ids} owner:lab,use:test")) == (
        f'Attributes successfully set on {kind} "{name}"\n'
    )
    assert json.loads(ok(run(f"{what} list-attr {ids} -j")))["response"] == ["owner", "use"]
    assert json.loads(ok(run(f"{what} list-attr {ids} -V -j")))["response"] == {
        "owner": "bGFi",
        "use": "dGVzdA==",
    }
    one = json.loads(ok(run(f"{what} get-attr {ids} owner -j")))["response"]
    assert one == {"name": "owner", "value": "bGFi"}
    two = json.loads(ok(run(f"{what} get-attr {ids} owner,use -j")))["response"]
    assert [row["name"] for row in two] == ["owner", "use"]
    assert ok(run(f"{what} get-attr {ids} owner")) == (
        f"Attributes for {kind} {name}:\n  Name  Value\n  ----  -----\n  owner lab\n"
    )
    assert ok(run(f"{what} del-attr {ids} owner,use")) == (
        f'Attribute(s) owner,use successfully deleted on {kind} "{name}"\n'
    )
    status, out, _ = run(f"{what} get-attr {ids} owner -j")
    assert (status, json.loads(out)["status"]) == (1, -1005)
    ok(run("cont destroy tank attrs"))


def test_snapshots(run: Run) -> None:
    ok(run("cont create tank snaps"))
    assert ok(run("cont list-snaps tank snaps")) == "No snapshots.\n"
    made = json.loads(ok(run("cont create-snap tank snaps --snap first -j")))["response"]
    assert made["name"] == "first"
    assert re.fullmatch(
        r"snapshot/epoch 0x[0-9a-f]+ has been created \(timestamp: \S+\)\n",
        ok(run("cont snap tank snaps")),
    )
    listed = json.loads(ok(run("cont list-snap tank snaps -j")))["response"]
    assert listed[0] == made
    assert len(listed) == 2
    text = ok(run("cont list-snaps tank snaps")).splitlines()
    assert text[0].split() == ["Timestamp", "Epoch", "Name"]
    assert text[2].split()[1:] == [hex(made["epoch"]), "first"]
    assert ok(run("cont destroy-snap tank snaps -s first")) == ""
    assert ok(run(f"cont destroy-snap tank snaps -r {made['epoch']}-{2**64 - 1}")) == ""
    assert ok(run("cont list-snaps tank snaps")) == "No snapshots.\n"
    for wrong in ("", "-e 1 -s x", "-e x", "-r 5", "-s nothing"):
        status, _, err = run(f"cont destroy-snap tank snaps {wrong}")
        assert status == 1, wrong
        assert err.startswith("ERROR: daos: "), wrong
    status, out, _ = run("cont rollback tank snaps -j -s first")
    assert (status, json.loads(out)["status"]) == (1, -1010)
    ok(run("cont destroy tank snaps"))


def test_objects(run: Run, agent: SmallAgent) -> None:
    ok(run("cont create tank objs"))
    with daos.connect() as client, client.pool("tank") as pool, pool.container("objs") as cont:
        kv = cont.kv(oclass="SX")
        kv["key"] = b"value"
        oid = str(kv.oid)
        single = str(cont.new_oid(oclass="S1"))
        assert len(agent.handles) == 1
    assert agent.handles == set()
    assert ok(run("cont list-objects tank objs")) == f"{oid}\n"
    text = ok(run(f"object query tank objs {oid}"))
    assert text.startswith(f"oid: {oid} ver 1 grp_nr: 2\ngrp: 0\nreplica 0 0:")
    found = json.loads(ok(run(f"obj query tank objs {single} -j")))["response"]
    assert (found["oid"], found["version"], found["class"]) == (single, 1, "S1")
    (shard,) = found["shards"]
    assert shard["replicas"][0]["rank"] == 0
    status, _, err = run("object query tank objs 1.2.3")
    assert status == 1
    assert "expected 'hi.lo'" in err
    ok(run("cont destroy tank objs"))


def test_pools(run: Run) -> None:
    text = ok(run("pool list"))
    assert re.fullmatch(
        r"Pool Size   State Used Imbalance Disabled\n"
        r"---- ----   ----- ---- --------- --------\n"
        r"tank \d+ MB +Ready \d+% +\d+% +0/2\n",
        text,
    ), text
    assert ok(run("pool list -n")) == "Pool State\n---- -----\ntank Ready\n"
    assert re.search(f"^tank +{UUID} Ready +0 ", ok(run("pool list --verbose")), re.M)
    info = json.loads(ok(run("pool query tank -j")))["response"]
    assert (info["label"], info["total_targets"], info["svc_reps"]) == ("tank", 2, [0])
    assert [tier["media_type"] for tier in info["tier_stats"]] == ["scm", "nvme"]
    text = ok(run("pool query tank -e"))
    assert text.startswith(f"Pool {info['uuid']}, ntarget=2, disabled=0, leader=0, version=1")
    assert "- Enabled ranks: 0\n" in text
    assert "Pool space info" not in ok(run("pool query tank --health-only"))


def test_targets_of_a_pool(run: Run) -> None:
    text = ok(run("pool query-targets tank --rank 0"))
    assert re.fullmatch(
        r"(Target: state up_in\n"
        r"- Storage tier 0 \(SCM\):\n  Total size: [\d.]+ MB\n  Free: [\d.]+ MB\n"
        r"- Storage tier 1 \(NVME\):\n  Total size: [\d.]+ MB\n  Free: [\d.]+ MB\n){2}",
        text,
    ), text
    found = json.loads(ok(run("pool query-targets tank --rank=0 --target-idx 1 -j")))["response"]
    assert [each["target_state"] for each in found] == ["up_in"]
    assert [tier["media_type"] for tier in found[0]["space"]] == ["scm", "nvme"]
    for wrong, text in (
        ("--rank 7", "no rank 7; it has 0"),
        ("--rank 0 --target-idx 0,2", "rank 0 has targets 0 to 1, but no 2"),
    ):
        status, out, _ = run(f"pool query-targets tank {wrong} -j")
        assert (status, json.loads(out)["status"]) == (1, -1005)
        assert text in json.loads(out)["error"]


def test_health(run: Run) -> None:
    ok(run("cont create tank well"))
    text = ok(run("health check"))
    heads = ("Component Build Information", "System Information", "Pool Status")
    assert [text.count(f"{head}\n{'-' * len(head)}\n") for head in heads] == [1, 1, 1]
    assert re.search(
        r"^  Pool [0-9a-f-]{36}, ntarget=2, disabled=0, leader=0, .* state=Ready$", text, re.M
    )
    assert "  Containers: 1, all HEALTHY\n" in text
    assert re.search(r"^    Container Label +: well$", ok(run("health check -v")), re.M)
    found = json.loads(ok(run("health check -j")))["response"]
    assert set(found) == {"component_build_info", "system_info", "pools", "pool_containers"}
    (pool,) = found["pools"].values()
    assert (pool["label"], pool["state"]) == ("tank", "Ready")
    assert [each["container_label"] for each in found["pool_containers"][pool["uuid"]]] == ["well"]
    assert found["component_build_info"]["client"]["version"] == daos.__version__
    assert found["system_info"]["system_name"] == "daos_server"
    ok(run("cont destroy tank well"))


def test_autotest(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ok(run("pool autotest tank --skip-big --deadline-limit 0.1"))
    lines = text.splitlines()
    assert lines[0].split() == ["Step", "Operation", "Status", "Time(sec)", "Comment"]
    assert [int(line.split()[0]) for line in lines[2:-1]] == [
        *(0, 1, 2, 3, 10, 11, 20, 21, 22, 23, 96, 97, 98, 99)
    ]
    assert lines[-1] == "All steps passed."
    assert re.search(
        r"^10 +Generating 1M S1 layouts +OK +0\.\d+ +\d+ of them: the deadline$", text, re.M
    )
    assert ok(run("cont list tank")) == "No containers.\n"
    # What is read is compared.
    monkeypatch.setattr(autotest.KeyValue, "get_many", wrong_values)
    status, out, err = run("pool autotest tank -S -D 0.1 -j")
    answer = json.loads(out)["response"]
    assert (status, err, answer["passed"]) == (1, "", False)
    (failed,) = [each for each in answer["steps"] if each["status"] != "OK"]
    assert (failed["step"], failed["operation"]) == (21, "Reading 128B values back")
    assert "is not what was written" in failed["comment"]
    assert [each["step"] for each in answer["steps"]][-4:] == [96, 97, 98, 99]
    assert ok(run("cont list tank")) == "No containers.\n"
    status, out, _ = run("pool autotest nosuch")
    assert status == 1
    assert "Connecting to pool FAILED" in out
    assert out.endswith("Some steps failed.\n")


async def wrong_values(kv: object, keys: list[bytes], **more: object) -> dict[bytes, bytes]:
    return dict.fromkeys(keys, b"something else")


def test_the_system(run: Run, agent: SmallAgent) -> None:
    text = ok(run("system query"))
    assert text.startswith("connected to DAOS system:\n")
    assert "rank[0]" in text
    found = json.loads(ok(run("sys query -j")))["response"]
    assert found["system_name"] == "daos_server"
    assert found["agent_path"] == str(agent.socket)
    assert [each["rank"] for each in found["rank_uris"]] == [0]
    assert ok(run("version")) == f"daos version {daos.__version__}\n"
    assert "_DAOS_COMPLETE=bash_complete" in ok(run("completion bash"))


def test_wrong_use(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, out, _ = run("pool query nosuch -j")
    assert (status, json.loads(out)["status"]) == (1, -1005)
    status, _, err = run("pool query nosuch")
    assert (status, err) == (
        1,
        "ERROR: daos: DER_NONEXIST(-1005): pool 'nosuch' not found; "
        "`daos pool list` lists those that there are\n",
    )
    status, _, err = run("cont query tank nosuch")
    assert (status, err) == (
        1,
        "ERROR: daos: DER_NONEXIST(-1005): container 'nosuch' not found in this pool; "
        "`daos container list POOL` lists those that there are\n",
    )
    status, _, err = run("pool query")
    assert (status, err) == (
        1,
        "ERROR: daos: missing argument 'POOL'; see `daos pool query --help`\n",
    )
    status, _, err = run("pool query tank --sys-name other")
    assert (status, err) == (
        1,
        "ERROR: daos: the agent cannot attach to system 'other': it serves one of another name\n",
    )
    monkeypatch.setenv("DAOS_AGENT_DRPC_DIR", str(tmp_path))
    status, _, err = run("pool list")
    assert status == 1
    assert f"no agent at {tmp_path}/daos_agent.sock" in err
    with pytest.raises(DaosError, match="no agent") as caught:
        daos.connect()
    assert caught.value.code is DER.UNREACH
    assert not isinstance(caught.value, NotFoundError)
