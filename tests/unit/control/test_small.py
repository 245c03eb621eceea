"""Rank sets, restarts, places, decisions about pools and settings, faults: values in and out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    InvalidError,
    NotFoundError,
    NotSupportedError,
)
from daos.base.sets import parse_hosts, parse_ranks, print_ranks
from daos.control import core, faults
from daos.control.client import checked, pause_s
from daos.control.faults import FaultError
from daos.control.members import MemberState
from daos.control.places import User, agent_socket, control_hosts
from daos.control.restarts import RestartLimit
from daos.proto.mgmt_pb2 import PoolQueryResp

S = 1_000_000_000


# --- rank sets ---


@pytest.mark.parametrize(
    ("text", "ranks", "printed"),
    [
        ("", (), ""),
        ("7", (7,), "7"),
        ("0-3,7", (0, 1, 2, 3, 7), "0-3,7"),
        ("[0-3,7]", (0, 1, 2, 3, 7), "0-3,7"),
        ("0,2-4,[7-9]", (0, 2, 3, 4, 7, 8, 9), "0,2-4,7-9"),
        (" 5, 5 ,4", (4, 5), "4-5"),
    ],
)
def test_rank_sets(text: str, ranks: tuple[int, ...], printed: str) -> None:
    assert parse_ranks(text) == ranks
    assert print_ranks(ranks) == printed


@pytest.mark.parametrize("text", ["a", "3-1", "1-", "-1", "1,,2", "0-99999999", "4294967295"])
def test_no_rank_sets(text: str) -> None:
    with pytest.raises(InvalidError, match="rank set"):
        parse_ranks(text)


# --- host sets ---


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", []),
        ("h1", ["h1"]),
        ("host[1-3,5]", ["host1", "host2", "host3", "host5"]),
        ("host[08-10].lan:10001", ["host08.lan:10001", "host09.lan:10001", "host10.lan:10001"]),
        ("h[1-2,05] h1\tx,h1", ["h1", "h2", "h05", "x"]),
        ("10.0.0.[1-2]:9,b:7", ["10.0.0.1:9", "10.0.0.2:9", "b:7"]),
        ("[1-2].lan", ["1.lan", "2.lan"]),
        ("unix:/a/control.sock,unix:/b", ["unix:/a/control.sock", "unix:/b"]),
    ],
)
def test_host_sets(text: str, hosts: list[str]) -> None:
    assert list(parse_hosts(text)) == hosts


@pytest.mark.parametrize(
    "text",
    ["h[3-1]", "h[a]", "h[1", "h1]", "h[]", "h[01-100]", "h[1-2][3]", "h[0-99999999]", "[1]"],
)
def test_no_host_sets(text: str) -> None:
    with pytest.raises(InvalidError, match="host set"):
        parse_hosts(text)


# --- restarts ---


def test_the_first_restart_is_at_once_and_the_next_one_waits() -> None:
    limit = RestartLimit(300)
    assert limit.delay_s(1000 * S) == 0
    assert limit.delay_s(1100 * S) == 200  # for 1300
    assert limit.delay_s(1301 * S) == 299  # 300 after that one
    assert limit.delay_s(2000 * S) == 0


def test_by_hand_it_begins_anew() -> None:
    limit = RestartLimit(300)
    limit.delay_s(1000 * S)
    limit.forget()
    assert limit.delay_s(1001 * S) == 0


# --- places ---

HOME = Path("/home/u")


def user(environ: Mapping[str, str] = {}, uid: int = 1000) -> User:
    return User(uid, HOME, environ)


def test_who_is_asked() -> None:
    own, machine = f"unix:{HOME}/.daos/run/control.sock", "unix:/var/run/daos_server/control.sock"
    there = {Path("/var/run/daos_server/control.sock")}
    assert control_hosts(user(), (), lambda path: False) == ("localhost:10001",)
    assert control_hosts(user(), (), there.__contains__) == (machine,)
    assert control_hosts(user(), (), lambda path: True) == (own,)
    assert control_hosts(user(uid=0), (), lambda path: True) == (machine,)
    assert control_hosts(user(), ("h1",), lambda path: True) == ("h1",)
    elsewhere = user({"DAOS_SOCKET_DIR": "/x"})
    assert control_hosts(elsewhere, ("h1",), lambda path: False) == ("unix:/x/control.sock",)


def test_where_the_agent_is() -> None:
    assert agent_socket(user(), lambda path: True) == HOME / ".daos/run/daos_agent.sock"
    machine = Path("/var/run/daos_agent/daos_agent.sock")
    assert agent_socket(user(), {machine}.__contains__) == machine
    assert agent_socket(user(), lambda path: False) == HOME / ".daos/run/daos_agent.sock"
    both = user({"DAOS_SOCKET_DIR": "/x", "DAOS_AGENT_DRPC_DIR": "/y"})
    assert agent_socket(both, lambda path: True) == Path("/y/daos_agent.sock")
    assert agent_socket(user({"DAOS_SOCKET_DIR": "/x"}), lambda path: False) == Path(
        "/x/daos_agent.sock"
    )


# --- states ---


def test_states_have_the_numbers_and_words_of_the_reference() -> None:
    assert [(each.value, each.text) for each in MemberState] == [
        (0x1, "awaitformat"),
        (0x2, "starting"),
        (0x4, "ready"),
        (0x8, "joined"),
        (0x10, "stopping"),
        (0x20, "stopped"),
        (0x40, "excluded"),
        (0x80, "errored"),
        (0x100, "unresponsive"),
        (0x200, "adminexcluded"),
        (0x400, "checkerstarted"),
    ]
    assert MemberState.UNKNOWN.text == "unknown"


# --- pools ---


def test_ranks_of_a_pool() -> None:
    assert core.choose_ranks((), 0, {0, 1, 2}) == (0, 1, 2)
    assert core.choose_ranks((), 2, {0, 1, 2}) == (0, 1)
    assert core.choose_ranks((2, 0), 0, {0, 1, 2}) == (0, 2)
    with pytest.raises(FaultError, match=r"code = 606 .*invalid ranks: 3,9"):
        core.choose_ranks((9, 3, 0), 0, {0})
    with pytest.raises(FaultError, match=r"code = 607 .*requested: 2, available: 1"):
        core.choose_ranks((), 2, {0})


def test_service_replicas() -> None:
    core.check_service_replicas(0, 1)
    core.check_service_replicas(9, 20)
    with pytest.raises(FaultError, match=r"code = 608 .* between 1 and 9"):
        core.check_service_replicas(11, 20)
    with pytest.raises(FaultError, match=r"code = 608 .* between 1 and 1"):
        core.check_service_replicas(3, 1)


def test_bytes_of_a_rank() -> None:
    assert core.tier_bytes(10 * 10**9, (), ranks=2, targets=8) == (5 * 10**9, 0)
    assert core.tier_bytes(0, (1 << 30, 0), ranks=2, targets=8) == (1 << 30, 0)
    with pytest.raises(InvalidError, match="one tier"):
        core.tier_bytes(0, (1 << 30, 1 << 30), ranks=1, targets=1)
    with pytest.raises(FaultError, match=r"code = 604 .*min 16 MiB per target"):
        core.tier_bytes(0, ((16 << 20) * 8 - 1, 0), ranks=1, targets=8)


# --- settings ---


def test_attributes() -> None:
    after = core.changed_attributes({"a": "1", "b": "2"}, {"a": "", "c": "3"})
    assert after == {"b": "2", "c": "3"}
    for name in ("", "prop.x", "mgmt.x"):
        with pytest.raises(InvalidError):
            core.changed_attributes({}, {name: "v"})
    with pytest.raises(NotFoundError, match="no system attribute 'z'"):
        core.chosen(after, ["z"], "attribute")
    assert core.chosen(after, [], "attribute") == after


def test_properties() -> None:
    assert core.PROPERTIES.changes({"self_heal": "pool_rebuild;exclude;pool_exclude"}) == {
        "self_heal": "exclude;pool_exclude;pool_rebuild"
    }
    with pytest.raises(AccessError):
        core.PROPERTIES.changes({"daos_version": "9"})
    with pytest.raises(NotSupportedError):
        core.PROPERTIES.changes({"pool_scrub_mode": "timed"})
    with pytest.raises(InvalidError, match="did you mean 'self_heal'"):
        core.PROPERTIES.changes({"selfheal": "none"})
    with pytest.raises(InvalidError, match="self_heal must be"):
        core.PROPERTIES.changes({"self_heal": "everything"})


# --- errors ---


def test_faults_cross_whole() -> None:
    sent = faults.wrong_system("a", "b")
    told = faults.parse(faults.emit(sent), "otherwise")
    assert isinstance(told, FaultError)
    assert vars(told) == vars(sent)
    assert str(told) == (
        'server: code = 603 description = "request system does not match running system (a != b)"'
    )


def test_errors_cross_as_what_they_were() -> None:
    told = faults.parse(faults.emit(NotFoundError("no pool")), "otherwise")
    assert type(told) is NotFoundError
    assert told.message == "no pool"
    assert faults.parse(b"{", "otherwise").message == "otherwise"


def test_the_verdict_of_an_engine() -> None:
    assert checked(PoolQueryResp(label="x"), "tank").label == "x"
    with pytest.raises(NotFoundError, match="tank"):
        checked(PoolQueryResp(status=-DER.NONEXIST), "tank")


def test_pauses_grow_to_a_bound() -> None:
    rng = random.Random(5)
    pauses = [pause_s(retry, rng) for retry in range(12)]
    least = [0.25, 0.25, 0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8]
    assert all(lo <= got <= 1.5 * lo for lo, got in zip(least, pauses, strict=True))


def test_a_fault_is_an_error_of_its_code() -> None:
    assert faults.data_plane_not_started().code is DER.AGAIN
    assert isinstance(faults.already_formatted("/x"), DaosError)
