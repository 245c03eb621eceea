"""`daos_agent.yml` and `daos_control.yml`."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.base.errors import InvalidError
from daos.control.config.others import parse_agent, parse_control

INSECURE = "transport_config: {allow_insecure: true}\n"


def test_an_agent() -> None:
    text = INSECURE + (
        "name: lab\naccess_points: [h1, 'h2:10002']\nport: 10011\nruntime_dir: /run/a\n"
        "log_file: /var/log/a.log\ncontrol_log_mask: ERROR\ndisable_caching: true\n"
        "cache_expiration: 2\ndisable_auto_evict: true\nenable_evict_on_start: true\n"
    )
    config = parse_agent(text, file="a.yml")
    assert config.name == "lab"
    assert config.hosts == ("h1:10011", "h2:10002")
    assert config.directory == Path("/run/a")
    assert config.mode == 0o666
    assert config.log_file == Path("/var/log/a.log")
    assert config.log_mask == "ERROR"
    assert not config.caching
    assert config.cache_expiration_s == 120
    assert not config.auto_evict
    assert config.evict_on_start


def test_what_an_agent_has_without_saying_so() -> None:
    config = parse_agent(INSECURE, file="a.yml")
    assert config.hosts == ("localhost:10001",)
    assert config.directory == Path("/var/run/daos_agent")
    assert config.caching
    assert config.auto_evict
    assert not config.evict_on_start


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acess_points: []", "a.yml:2: unknown key 'acess_points'; did you mean 'access_points'?"),
        ("access_points: h1", "a.yml:2: access_points: expected a list of texts, found 'h1'"),
        ("cache_expiration: -1", "a.yml:2: cache_expiration: -1 is no number from 0"),
        ("telemetry_enabled: true", "a.yml:2: telemetry_enabled: needs a telemetry_port"),
        ("telemetry_retain: 5", "a.yml:2: telemetry_retain: needs telemetry_enabled: true"),
        (
            "credential_config: {}",
            "a.yml:2: credential_config: not supported: credentials are not signed yet",
        ),
        (
            "exclude_fabric_ifaces: [a]\ninclude_fabric_ifaces: [b]",
            "a.yml:2: exclude_fabric_ifaces: give this or include_fabric_ifaces, not both",
        ),
    ],
)
def test_mistakes_of_an_agent(text: str, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_agent(INSECURE + text, file="a.yml")
    assert caught.value.message == message


def test_certificates_are_not_there_yet() -> None:
    with pytest.raises(InvalidError, match=r"a.yml:1: transport_config: certificates are not supp"):
        parse_agent("", file="a.yml")


def test_what_means_nothing_to_an_agent() -> None:
    text = INSECURE + "fabric_ifaces: [{numa_node: 0, devices: [{iface: ib0, domain: mlx0}]}]\n"
    assert parse_agent(text, file="a.yml").notices == (
        "a.yml:2: fabric_ifaces is not used: connections are plain TCP and Unix sockets: "
        "the system chooses the interface",
    )


@pytest.mark.parametrize("hostlist", ["[h1, h2]", "h1,h2", "'h1, h2'"])
def test_an_administrator(hostlist: str) -> None:
    config = parse_control(f"{INSECURE}port: 10011\nhostlist: {hostlist}\n", file="c.yml")
    assert config.hosts == ("h1:10011", "h2:10011")
    assert config.name == "daos_server"


def test_mistakes_of_an_administrator() -> None:
    with pytest.raises(
        InvalidError, match=r"c.yml:2: unknown key 'host_list'; did you mean 'hostl"
    ):
        parse_control(INSECURE + "host_list: []", file="c.yml")
    with pytest.raises(InvalidError, match=r"c.yml:1: transport_config: certificates"):
        parse_control("transport_config:\n  allow_insecure: false\n", file="c.yml")
