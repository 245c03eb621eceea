"""`daos_agent.yml` and `daos_control.yml`: of the agent, and of administrators' tools.

Source: DAOS src/control/cmd/daos_agent/config.go, src/control/lib/control/config.go
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from daos.control.config.model import NAME_SIZE_MAX, AgentConfig, ControlConfig
from daos.control.config.reader import Key, Kind, Section, read
from daos.control.config.server import LOG_MASKS, PORT_MAX, TRANSPORT
from daos.control.places import MACHINE, PORT, SYSTEM

_TELEMETRY: Final = "metrics are not exported yet"
_FABRIC: Final = "connections are plain TCP and Unix sockets: the system chooses the interface"
_CREDENTIALS: Final = "credentials are not signed yet"
_text = Key(Kind.TEXT)
_flag = Key(Kind.FLAG)

AGENT_KEYS: Final = {
    "name": _text,
    "access_points": Key(Kind.TEXTS),
    "port": Key(Kind.NUMBER, lo=1, hi=PORT_MAX),
    "runtime_dir": _text,
    "log_file": _text,
    "control_log_mask": Key(Kind.TEXT, choices=LOG_MASKS),
    "transport_config": Key(Kind.SECTION, TRANSPORT),
    "disable_caching": _flag,
    "cache_expiration": Key(Kind.NUMBER, lo=0),
    "disable_auto_evict": _flag,
    "enable_evict_on_start": _flag,
    "exclude_fabric_ifaces": Key(Kind.TEXTS, idle=_FABRIC, unless=([],)),
    "include_fabric_ifaces": Key(Kind.TEXTS, idle=_FABRIC, unless=([],)),
    "fabric_ifaces": Key(
        Kind.SECTIONS,
        {
            "numa_node": Key(Kind.NUMBER),
            "devices": Key(Kind.SECTIONS, {"iface": _text, "domain": _text}),
        },
        idle=_FABRIC,
        unless=([],),
    ),
    "credential_config": Key(
        Kind.SECTION,
        {
            "cache_expiration": _text,
            "client_user_map": Key(
                Kind.SECTION,
                {
                    "default": Key(
                        Kind.SECTION,
                        {"user": _text, "group": _text, "groups": Key(Kind.TEXTS)},
                    )
                },
            ),
        },
        refused=_CREDENTIALS,
    ),
    "telemetry_port": Key(Kind.NUMBER, idle=_TELEMETRY, unless=(0,)),
    "telemetry_enabled": Key(Kind.FLAG, idle=_TELEMETRY, unless=(False,)),
    "telemetry_retain": Key(Kind.NUMBER, idle=_TELEMETRY, unless=(0,)),
    "telemetry_enabled_procs": Key(Kind.TEXT, idle=_TELEMETRY, unless=("",)),
    "telemetry_disabled_procs": Key(Kind.TEXT, idle=_TELEMETRY, unless=("",)),
}

CONTROL_KEYS: Final = {
    "name": _text,
    "port": Key(Kind.NUMBER, lo=1, hi=PORT_MAX),
    "hostlist": Key(Kind.TEXTS_OR_COMMAS),
    "transport_config": Key(Kind.SECTION, TRANSPORT),
}


def parse_agent(text: str, *, file: str) -> AgentConfig:
    """What `daos_agent.yml` says. Raises: InvalidError"""
    top, notices = read(text, AGENT_KEYS, file=file)
    if "exclude_fabric_ifaces" in top and "include_fabric_ifaces" in top:
        raise top.wrong("exclude_fabric_ifaces", "give this or include_fabric_ifaces, not both")
    if top.flag("telemetry_enabled") and not top.number("telemetry_port"):
        raise top.wrong("telemetry_enabled", "needs a telemetry_port")
    if top.number("telemetry_retain") and not top.flag("telemetry_enabled"):
        raise top.wrong("telemetry_retain", "needs telemetry_enabled: true")
    _check_transport(top)
    log_file = top.text("log_file")
    return AgentConfig(
        directory=Path(top.text("runtime_dir", str(MACHINE.agent))),
        name=_name(top),
        hosts=_hosts(top, "access_points"),
        caching=not top.flag("disable_caching"),
        cache_expiration_s=60.0 * top.number("cache_expiration"),
        auto_evict=not top.flag("disable_auto_evict"),
        evict_on_start=top.flag("enable_evict_on_start"),
        log_file=Path(log_file) if log_file else None,
        log_mask=top.text("control_log_mask", "INFO"),
        notices=tuple(notices),
    )


def parse_control(text: str, *, file: str) -> ControlConfig:
    """What `daos_control.yml` says. Raises: InvalidError"""
    top, notices = read(text, CONTROL_KEYS, file=file)
    _check_transport(top)
    return ControlConfig(_name(top), _hosts(top, "hostlist"), tuple(notices))


def _check_transport(top: Section) -> None:
    if not top.section("transport_config").flag("allow_insecure"):
        text = "certificates are not supported yet: set transport_config.allow_insecure: true"
        raise top.wrong("transport_config", text)


def _name(top: Section) -> str:
    name = top.text("name", SYSTEM)
    if not 1 <= len(name) <= NAME_SIZE_MAX:
        raise top.wrong("name", f"a name of 1 to {NAME_SIZE_MAX} characters, not {name[:32]!r}")
    return name


def _hosts(top: Section, key: str) -> tuple[str, ...]:
    """Each with its port; this host where none is named."""
    port = top.number("port", PORT)
    hosts = top.texts(key) or ("localhost",)
    return tuple(host if ":" in host else f"{host}:{port}" for host in hosts)
