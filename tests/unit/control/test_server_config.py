"""`daos_server.yml`: what a whole file means, and the words for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.base.errors import DaosError
from daos.control.config.model import EngineConfig, command, environment, zero
from daos.control.config.server import parse
from daos.control.faults import FaultError
from daos.control.places import Places

FULL = """\
name: lab
mgmt_svc_replicas: ['host1']
port: 10011
control_iface: eth0
transport_config:
  allow_insecure: true
fault_path: /Rack1/Host1
provider: ofi+tcp
crt_timeout: 45
socket_dir: /run/daos
disable_engine_auto_restart: false
engine_auto_restart_min_delay: 60
control_log_mask: DEBUG
control_log_file: /var/log/daos/server.log
client_env_vars: [CRT_TIMEOUT=45]
control_metadata:
  path: /var/daos/config
engines:
- targets: 4
  nr_xs_helpers: 1
  first_core: 2
  fabric_iface: lo
  fabric_iface_port: 31416
  log_file: /var/log/daos/engine0.log
  log_mask: INFO
  env_vars: [A=1, B=x=y]
  env_pass_through: [EXTRA]
  storage:
  - class: ram
    scm_mount: /mnt/daos0
- targets: 4
  nr_xs_helpers: 1
  pinned_numa_node: 1
  fabric_iface: lo
  fabric_iface_port: 32416
  storage:
  - {class: ram, scm_mount: /mnt/daos1}
"""


def test_a_whole_file() -> None:
    config = parse(FULL, file="s.yml")
    assert config.name == "lab"
    assert config.port == 10011
    assert config.interface == "eth0"
    assert config.insecure
    assert config.fault_domain == "/rack1/host1"
    assert config.sockets == Path("/run/daos")
    assert config.control == Path("/var/daos/config")
    assert config.restarts
    assert config.restart_min_delay_s == 60
    assert (config.log_mask, config.log_file) == ("DEBUG", Path("/var/log/daos/server.log"))
    assert config.engines[0] == EngineConfig(
        storage=Path("/mnt/daos0"),
        targets=4,
        helpers=1,
        first_core=2,
        fabric_iface="lo",
        fabric_iface_port=31416,
        log_file=Path("/var/log/daos/engine0.log"),
        log_mask="INFO",
        env_vars=(("A", "1"), ("B", "x=y")),
        env_pass_through=("EXTRA",),
    )
    assert command(config, 1) == [
        *("-t", "4", "-x", "1", "-g", "lab", "-d", "/run/daos", "-s", "/mnt/daos1", "-I", "1"),
        *("-p", "1"),
    ]
    assert environment(config, 0, {"EXTRA": "e", "OTHER": "o", "PATH": "/bin"}) == {
        "PATH": "/bin",
        "EXTRA": "e",
        "D_PROVIDER": "ofi+tcp",
        "D_INTERFACE": "lo",
        "D_PORT": "31416",
        "CRT_TIMEOUT": "45",
        "D_LOG_FILE": "/var/log/daos/engine0.log",
        "D_LOG_MASK": "INFO",
        "A": "1",
        "B": "x=y",
    }
    assert config.notices == ("s.yml: one management service replica: its host is all there is",)


def test_a_machine_without_one() -> None:
    config = zero(Places(Path("/s"), Path("/r"), Path("/a")), environ={"DAOS_X": "1", "Y": "2"})
    assert config.port is None
    assert config.auto_format
    assert config.agent == Path("/a")
    assert [(each.storage, each.targets) for each in config.engines] == [(Path("/s/engine0"), 4)]
    passed = environment(config, 0, {"DAOS_X": "1", "Y": "2", "HOME": "/h"})
    assert passed == {"DAOS_X": "1", "HOME": "/h", "D_LOG_FILE": "/s/log/daos_engine.0.log"}


def change(old: str, new: str, text: str = FULL) -> str:
    assert old in text
    return text.replace(old, new, 1)


MISTAKES = Path(__file__).parents[2] / "golden/control/server_mistakes.txt"


def mistakes() -> list[list[str]]:
    """What is put in place of what, and what is said: `-`, `+` and `=` of each block."""
    blocks = MISTAKES.read_text().strip("\n").split("\n\n")
    rows = [[line[2:] for line in block.splitlines()] for block in blocks]
    return [[old.replace("\\n", "\n"), new.replace("\\n", "\n"), told] for old, new, told in rows]


@pytest.mark.parametrize(("old", "new", "message"), mistakes())
def test_mistakes(old: str, new: str, message: str) -> None:
    with pytest.raises(DaosError) as caught:
        parse(change(old, new), file="s.yml")
    error = caught.value
    assert error.message == message
    assert not isinstance(error, FaultError) or error.resolution


def test_lines_are_right() -> None:
    text = "name: lab\n\n# a comment\nengines:\n- targets: 1\n  storage:\n  - clas: ram\n"
    with pytest.raises(DaosError, match=r"s.yml:7: engines\[0\].storage\[0\]: unknown key 'clas'"):
        parse(text, file="s.yml")
    with pytest.raises(DaosError, match=r"s.yml:3: port: expected a whole number"):
        parse("name: lab\nprovider: tcp\nport: [1]\n", file="s.yml")


def test_no_engines() -> None:
    for text in ("", "name: lab\n", "name: lab\nengines: []\n"):
        with pytest.raises(FaultError, match="code = 708"):
            parse(text, file="s.yml")


def test_what_means_nothing_here_is_told_once() -> None:
    text = FULL + (
        "bdev_exclude: ['0000:01:00.0']\n"
        "disable_vfio: false\n"
        "allow_thp: true\n"
        "telemetry_port: 9191\n"
        "system_ram_reserved: 8\n"
    )
    assert parse(text, file="s.yml").notices[:-1] == (
        "s.yml:38: bdev_exclude is not used: there are no NVMe devices driven by SPDK; "
        "everything is kept below scm_mount",
        "s.yml:40: allow_thp is not used: no hugepages are used",
        "s.yml:41: telemetry_port is not used: metrics are not exported yet",
        "s.yml:42: system_ram_reserved is not used: storage is not kept in memory",
    )


def test_engines_that_are_not_spread_evenly() -> None:
    third = FULL[FULL.index("- targets: 4\n  nr_xs_helpers: 1\n  pinned") :]
    three = FULL + third.replace("daos1", "daos2").replace("32416", "33416")
    three = change("first_core: 2", "pinned_numa_node: 0", three)
    with pytest.raises(FaultError, match="uneven distribution of engines across NUMA nodes"):
        parse(three, file="s.yml")
    parse("allow_numa_imbalance: true\n" + three, file="s.yml")
