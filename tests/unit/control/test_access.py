"""Who may call what: the table names all that is registered, and nothing else is answered."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from daos.base.clock import SystemClock
from daos.control import access
from daos.control.access import Component, Method, compatible, may_call, system_name
from daos.control.agent import Agent
from daos.control.client import ControlClient
from daos.control.config.model import AgentConfig, ServerConfig
from daos.control.server import Programs, Server
from daos.drpc.modules import ModuleId
from daos.testing.fake_engine import FakeEngine


def server(path: Path) -> Server:
    return Server(
        ServerConfig(sockets=path, control=path),
        programs=Programs(("engine",), ("agent",)),
        environ={},
        hostname="h",
        clock=SystemClock(),
        rng=random.Random(1),
        say=lambda text: None,
    )


def test_every_grpc_method_is_in_the_table(tmp_path: Path) -> None:
    registered = frozenset[str]().union(*(each.methods for each in server(tmp_path).services()))
    assert registered == access.GRPC.keys()


def test_every_drpc_method_is_in_the_table(tmp_path: Path) -> None:
    control = ControlClient(
        ["h"], component=Component.AGENT, clock=SystemClock(), rng=random.Random(1)
    )
    agent = Agent(
        AgentConfig(tmp_path),
        control,
        hostname="h",
        boot="b",
        clock=SystemClock(),
        born=lambda pid: 1,
    )
    found = {
        *(Method(Component.SERVER, ModuleId.SRV, n) for n in server(tmp_path).methods().numbers),
        *(Method(Component.AGENT, ModuleId.MGMT, n) for n in agent.methods().numbers),
        *(
            Method(Component.ENGINE, ModuleId.MGMT, n)
            for n in FakeEngine(tmp_path, "").methods().numbers
        ),
    }
    assert found == access.DRPC.keys()


@pytest.mark.parametrize("component", ["", "ADMIN", "root", "client", "engine"])
def test_who_is_nobody_may_nothing(component: str) -> None:
    assert not any(may_call(method, component) for method in access.GRPC)


@pytest.mark.parametrize("method", ["", "PoolCreate", "mgmt.MgmtSvc/poolCreate", "x.Svc/Y"])
def test_what_is_not_named_nobody_may(method: str) -> None:
    assert not any(may_call(method, component) for component in Component)


def test_some_rows_of_the_reference() -> None:
    assert may_call("mgmt.MgmtSvc/PoolCreate", "admin")
    assert not may_call("mgmt.MgmtSvc/PoolCreate", "agent")
    assert may_call("mgmt.MgmtSvc/PoolEvict", "agent")
    assert may_call("mgmt.MgmtSvc/GetAttachInfo", "agent")
    assert may_call("ctl.CtlSvc/StopRanks", "server")
    assert not may_call("ctl.CtlSvc/StopRanks", "admin")


@pytest.mark.parametrize(
    ("ours", "theirs", "yes"),
    [
        (("server", "1.0.0"), ("server", "1.0.1"), True),
        (("server", "1.0.0"), ("server", "1.1.0"), False),
        (("server", "2.4.0"), ("server", "1.4.0"), False),
        (("server", "2.4.0"), ("agent", "2.2.0"), True),
        (("server", "2.6.0"), ("agent", "2.2.0"), False),
        (("server", "3.4.0"), ("agent", "2.2.0"), False),
        (("server", "2.4.0"), ("admin", "2.3.0"), False),
        (("server", "2.4.0"), ("admin", ""), False),
        (("server", "2.4.0"), ("admin", "x"), False),
    ],
)
def test_versions(ours: tuple[str, str], theirs: tuple[str, str], yes: bool) -> None:
    assert compatible(ours, theirs) is yes


def test_names_of_systems() -> None:
    assert system_name("name") == "name"
    assert system_name("name-2.4.0") == "name"
    assert system_name("my-name") == "my-name"
    assert system_name("my-name-2.4.0") == "my-name"
