"""What a server needs to know: `daos_server.yml` as it is meant, or the defaults without one.

    server.parse(text) ─┐
    zero(places) ───────┴─> ServerConfig --command, environment--> daos_engine

Source: DAOS src/control/server/config/server.go, src/control/server/engine/config.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from daos.base.errors import InvalidError
from daos.control.places import PORT, SYSTEM, Places

NAME_SIZE_MAX: Final = 15
TARGETS_MAX: Final = 64
# Of a system without configuration, whatever the machine: a layout does not depend on the host that
# it was made on, and targets share cores where there are fewer.
ZERO_TARGETS: Final = 4
RESTART_MIN_DELAY_S: Final = 300.0
STOP_GRACE_S: Final = 60.0

# What an engine gets of the server's environment, besides `env_pass_through`.
_PASSED: Final = re.compile(
    r"(PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHON\w+)\Z"
)
_OURS: Final = re.compile(r"(D|DD|DAOS|CRT)_\w+\Z")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One of `engines`. `storage`: the directory that holds all of it."""

    storage: Path
    targets: int = ZERO_TARGETS
    helpers: int = 0
    first_core: int | None = None
    pinned_numa_node: int | None = None
    modules: str = ""
    fabric_iface: str = ""
    fabric_iface_port: int = 0
    log_file: Path | None = None
    log_mask: str = ""
    env_vars: tuple[tuple[str, str], ...] = ()
    env_pass_through: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.targets <= TARGETS_MAX:
            raise InvalidError(f"an engine has 1 to {TARGETS_MAX} targets, not {self.targets}")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """A server. `provider` "": this host alone, by Unix sockets; `port` None: no TCP either."""

    sockets: Path
    control: Path  # what the server itself keeps
    engines: tuple[EngineConfig, ...] = ()
    name: str = SYSTEM
    port: int | None = None
    interface: str = ""  # that the port is opened at; "": all
    insecure: bool = False  # whether it may be opened without certificates
    provider: str = ""
    crt_timeout_s: int = 0
    fault_domain: str = ""  # "": the host's name
    client_env_vars: tuple[str, ...] = ()
    auto_format: bool = False
    restarts: bool = True
    restart_min_delay_s: float = RESTART_MIN_DELAY_S
    stop_grace_s: float = STOP_GRACE_S
    agent: Path | None = None  # the directory of the agent that the server starts, or none
    log_file: Path | None = None
    log_mask: str = "INFO"
    log_json: bool = False
    notices: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_SIZE_MAX:
            text = f"the name of a system has 1 to {NAME_SIZE_MAX} characters, {self.name!r} not"
            raise InvalidError(text)


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """An agent. `hosts`: who has the management service, or () for who is found."""

    directory: Path
    name: str = SYSTEM
    hosts: tuple[str, ...] = ()
    mode: int = 0o666  # of the socket
    caching: bool = True
    cache_expiration_s: float = 0.0  # 0: never
    auto_evict: bool = True
    evict_on_start: bool = False
    allow_proxy: bool = False
    log_file: Path | None = None
    log_mask: str = "INFO"
    notices: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """What administrators' tools need."""

    name: str = SYSTEM
    hosts: tuple[str, ...] = ()
    notices: tuple[str, ...] = field(default=(), compare=False)


def zero(places: Places, *, engines: int = 1, environ: Mapping[str, str]) -> ServerConfig:
    """The configuration of a machine without one."""
    passed = tuple(sorted(name for name in environ if _OURS.match(name)))
    return ServerConfig(
        sockets=places.sockets,
        control=places.storage / "control",
        engines=tuple(
            EngineConfig(
                storage=places.storage / f"engine{index}",
                env_pass_through=passed,
                log_file=places.storage / "log" / f"daos_engine.{index}.log",
            )
            for index in range(engines)
        ),
        auto_format=True,
        agent=places.agent,
        log_file=places.storage / "log" / "daos_server.log",
    )


def command(config: ServerConfig, index: int) -> Sequence[str]:
    """Arguments of the engine `index`: those of the reference."""
    engine = config.engines[index]
    options: list[tuple[str, object]] = [
        ("-t", engine.targets),
        ("-x", engine.helpers),
        ("-g", config.name),
        ("-d", config.sockets),
        ("-s", engine.storage),
        ("-I", index),
    ]
    if engine.first_core is not None:
        options.append(("-f", engine.first_core))
    if engine.pinned_numa_node is not None:
        options.append(("-p", engine.pinned_numa_node))
    if engine.modules:
        options.append(("-m", engine.modules))
    return [str(part) for option in options for part in option]


def environment(config: ServerConfig, index: int, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables of the engine `index`, of those that the server has: those of the reference."""
    engine = config.engines[index]
    passed = {
        name: value
        for name, value in environ.items()
        if _PASSED.match(name) or name in engine.env_pass_through
    }
    told = {
        "D_PROVIDER": config.provider,
        "D_INTERFACE": engine.fabric_iface,
        "D_PORT": str(engine.fabric_iface_port or ""),
        "CRT_TIMEOUT": str(config.crt_timeout_s or ""),
        "D_LOG_FILE": str(engine.log_file or ""),
        "D_LOG_MASK": engine.log_mask,
    }
    return {**passed, **{k: v for k, v in told.items() if v}, **dict(engine.env_vars)}


def control_address(config: ServerConfig, hostname: str) -> str:
    """What members say where their server is."""
    return f"{hostname}:{PORT if config.port is None else config.port}"
