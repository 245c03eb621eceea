"""`daos_server.yml`: the reference's keys, and what this system makes of them.

    text --KEYS--> Section --rules--> ServerConfig, or an error with file and line

Rules between engines have the reference's fault numbers, so that its guides explain them.

Source: DAOS src/control/server/config/{server,faults}.go, src/control/server/engine/config.go,
        src/control/server/storage/config.go
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from daos.base.errors import DER
from daos.control.config.model import (
    NAME_SIZE_MAX,
    TARGETS_MAX,
    EngineConfig,
    ServerConfig,
)
from daos.control.config.reader import Key, Kind, Section, read
from daos.control.faults import FaultError
from daos.control.places import MACHINE, PORT, SYSTEM

_SPDK: Final = "there are no NVMe devices driven by SPDK; everything is kept below scm_mount"
_HUGE: Final = "no hugepages are used"
_LIBFABRIC: Final = "connections are plain TCP and Unix sockets, not libfabric"
_TLS: Final = "certificates are not supported yet: set allow_insecure: true"
_TELEMETRY: Final = "metrics are not exported yet"
LOG_MASKS: Final = ("DISABLED", "TRACE", "DEBUG", "INFO", "NOTICE", "ERROR")
_PROVIDERS: Final = ("ofi+tcp", "ofi+tcp;ofi_rxm", "tcp", "sm")
_PROVIDER: Final = re.compile(r"(ofi|ucx)\+[\w+;]+")
_ENV: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_FAULT_PATH: Final = re.compile(r"(/[^/=\s]+){1,2}")
PORT_MAX: Final = 65535

_text = Key(Kind.TEXT)
_flag = Key(Kind.FLAG)

TRANSPORT: Final = {
    "allow_insecure": _flag,
    "client_cert_dir": Key(Kind.TEXT, idle=_TLS),
    "ca_cert": Key(Kind.TEXT, idle=_TLS),
    "cert": Key(Kind.TEXT, idle=_TLS),
    "key": Key(Kind.TEXT, idle=_TLS),
}

_TIER: Final = {
    "class": Key(Kind.TEXT, choices=("ram", "dcpm", "nvme", "kdev", "file")),
    "scm_mount": _text,
    "scm_list": Key(Kind.TEXTS),
    "scm_size": Key(Kind.NUMBER, lo=0, idle="a rank may fill the file system", unless=(0,)),
    "scm_hugepages_disabled": Key(Kind.FLAG, idle=_HUGE, unless=(True,)),
    "bdev_list": Key(Kind.TEXTS),
    "bdev_number": Key(Kind.NUMBER),
    "bdev_size": Key(Kind.NUMBER),
    "bdev_busid_range": Key(Kind.TEXT, refused=_SPDK, unless=("",)),
    "bdev_roles": Key(Kind.TEXTS, choices=("wal", "meta", "data")),
}

_ENGINE: Final = {
    "targets": Key(Kind.NUMBER, lo=1, hi=TARGETS_MAX),
    "nr_xs_helpers": Key(Kind.NUMBER, lo=0),
    "first_core": Key(Kind.NUMBER, lo=0),
    "pinned_numa_node": Key(Kind.NUMBER, lo=0),
    "bypass_health_chk": Key(Kind.FLAG, idle=_SPDK, unless=(False,)),
    "secondary_provider_endpoints": Key(Kind.NUMBERS, refused="one provider is used", unless=([],)),
    "fabric_iface": _text,
    "fabric_iface_port": Key(Kind.NUMBER, lo=1, hi=PORT_MAX),
    "provider": _text,
    "crt_timeout": Key(Kind.NUMBER, lo=0, hi=3600),
    "disable_srx": Key(Kind.FLAG, idle=_LIBFABRIC, unless=(False,)),
    "fabric_auth_key": Key(Kind.TEXT, refused=_LIBFABRIC, unless=("",)),
    "log_mask": _text,
    "log_file": _text,
    "modules": _text,
    "env_vars": Key(Kind.TEXTS),
    "env_pass_through": Key(Kind.TEXTS),
    "storage": Key(Kind.SECTIONS, _TIER),
    "bdev_auto_faulty": Key(
        Kind.SECTION,
        {
            "enable": _flag,
            "max_io_errs": Key(Kind.NUMBER),
            "max_csum_errs": Key(Kind.NUMBER),
        },
        idle=_SPDK,
    ),
    "spdk_iobuf": Key(
        Kind.SECTION,
        {"small_pool_count": Key(Kind.NUMBER), "large_pool_count": Key(Kind.NUMBER)},
        idle=_SPDK,
    ),
    "spdk_rpc_server": Key(Kind.SECTION, {"enable": _flag, "sock_addr": _text}, idle=_SPDK),
    "acceleration": Key(Kind.SECTION, {"engine": _text, "options": Key(Kind.TEXTS)}, idle=_SPDK),
    "allow_spdk_conf_override": Key(Kind.FLAG, idle=_SPDK, unless=(False,)),
}

KEYS: Final = {
    "name": _text,
    "mgmt_svc_replicas": Key(Kind.TEXTS),
    "access_points": Key(Kind.TEXTS),
    "port": Key(Kind.NUMBER),
    "control_iface": _text,
    "transport_config": Key(Kind.SECTION, TRANSPORT),
    "fault_path": _text,
    "fault_cb": Key(Kind.TEXT, refused="say where the host is with fault_path", unless=("",)),
    "provider": _text,
    "crt_timeout": Key(Kind.NUMBER, lo=0, hi=3600),
    "disable_srx": Key(Kind.FLAG, idle=_LIBFABRIC, unless=(False,)),
    "fabric_auth_key": Key(Kind.TEXT, refused=_LIBFABRIC, unless=("",)),
    "core_dump_filter": Key(Kind.NUMBER, idle="the filter of the system holds"),
    "bdev_exclude": Key(Kind.TEXTS, idle=_SPDK, unless=([],)),
    "disable_vfio": Key(Kind.FLAG, idle=_SPDK, unless=(False,)),
    "disable_vmd": Key(Kind.FLAG, idle=_SPDK, unless=(False, True)),
    "disable_hotplug": Key(Kind.FLAG, idle=_SPDK, unless=(False, True)),
    "enable_hotplug": Key(Kind.FLAG, idle="an old name of disable_hotplug; remove it"),
    "firmware_helper_log_file": Key(Kind.TEXT, idle="an old key of the reference; remove it"),
    "helper_log_file": Key(Kind.TEXT, idle="there is no privileged helper", unless=("",)),
    "nr_hugepages": Key(Kind.NUMBER),
    "disable_hugepages": _flag,
    "allow_numa_imbalance": _flag,
    "allow_thp": Key(Kind.FLAG, idle=_HUGE, unless=(False,)),
    "system_ram_reserved": Key(Kind.NUMBER, lo=1, idle="storage is not kept in memory"),
    "control_log_mask": Key(Kind.TEXT, choices=LOG_MASKS),
    "control_log_file": _text,
    "control_log_json": _flag,
    "telemetry_port": Key(Kind.NUMBER, idle=_TELEMETRY, unless=(0,)),
    "client_env_vars": Key(Kind.TEXTS),
    "support_config": Key(
        Kind.SECTION, {"file_transfer_exec": _text}, idle="logs are not collected yet"
    ),
    "socket_dir": _text,
    "control_metadata": Key(Kind.SECTION, {"path": _text, "device": _text}),
    "kernel_config_path": Key(Kind.TEXT, idle="the kernel is not asked", unless=("",)),
    "hyperthreads": Key(Kind.FLAG, idle="all cores that the system gives are used"),
    "disable_engine_auto_restart": _flag,
    "engine_auto_restart_min_delay": Key(Kind.NUMBER),
    "engines": Key(Kind.SECTIONS, _ENGINE),
}


def parse(text: str, *, file: str) -> ServerConfig:
    """What `daos_server.yml` says. Raises: InvalidError, FaultError"""
    top, notices = read(text, KEYS, file=file)
    _check_system(top, notices)
    engines = top.sections("engines")
    if not engines:
        raise _fault(top, "engines", 708, _NO_ENGINES, _SAY_ENGINES)
    provider = _provider(top, engines)
    _check_engines(engines, allow_numa_imbalance=top.flag("allow_numa_imbalance"))
    metadata = _metadata(top)
    configs = tuple(_engine(engine, provider) for engine in engines)
    return ServerConfig(
        sockets=Path(top.text("socket_dir", str(MACHINE.sockets))),
        control=metadata or configs[0].storage / "control",
        engines=configs,
        name=_name(top),
        port=_port(top),
        provider=provider,
        crt_timeout_s=top.number("crt_timeout"),
        fault_domain=_fault_domain(top),
        client_env_vars=_assignments(top, "client_env_vars"),
        restarts=not top.flag("disable_engine_auto_restart"),
        restart_min_delay_s=_restart_delay(top),
        log_file=_path(top, "control_log_file"),
        log_mask=top.text("control_log_mask", "INFO"),
        log_json=top.flag("control_log_json"),
        interface=top.text("control_iface"),
        insecure=top.section("transport_config").flag("allow_insecure"),
        notices=tuple(notices),
    )


_NO_ENGINES: Final = "no DAOS IO Engines specified in configuration"
_SAY_ENGINES: Final = (
    "specify at least one IO Engine configuration ('engines' list parameter) "
    "and restart the control server"
)


def _fault(section: Section, key: str, number: int, text: str, resolution: str) -> FaultError:
    """A fault of the reference, and where in the file it is."""
    told = f"{text} ({section.at(key)})"
    return FaultError("serverconfig", number, told, resolution, code=DER.INVAL)


# --- the server's part ---


def _check_system(top: Section, notices: list[str]) -> None:
    replicas = _replicas(top, notices)
    if len(replicas) == 1:
        notices.append(f"{top.file}: one management service replica: its host is all there is")
    if "telemetry_port" in top and not 0 <= top.number("telemetry_port") <= PORT_MAX:
        text = "invalid telemetry port in configuration"
        todo = (
            "specify a positive non-zero network port in configuration "
            "('telemetry_port' parameter) and restart the control server"
        )
        raise _fault(top, "telemetry_port", 704, text, todo)
    if top.number("nr_hugepages") not in (0, -1) and top.flag("disable_hugepages"):
        text = "hugepages are disabled and nr_hugepages asks for some"
        raise _fault(top, "nr_hugepages", 727, text, "remove one of them from the config")
    if top.number("nr_hugepages") not in (0, -1):
        raise top.wrong("nr_hugepages", f"not supported: {_HUGE}; remove the key")


def _replicas(top: Section, notices: list[str]) -> list[str]:
    key = "mgmt_svc_replicas"
    if "access_points" in top:
        if key in top:
            raise top.wrong("access_points", f"the old name of {key}, which is given, too")
        where = top.at("access_points")
        notices.append(f"{where}: access_points is the old name of {key}")
        key = "access_points"
    found = list[str]()
    todo = (
        f"'{key}' must contain resolvable addresses; fix the configuration and restart the "
        "control server"
    )
    text = "invalid list of management service replicas in configuration"
    if key in top and not top.texts(key):
        raise _fault(top, key, 705, f"{text}: it is empty", todo)
    for each in top.texts(key):
        host, colon, port = each.rpartition(":") if ":" in each else (each, "", str(PORT))
        if not host or (colon and not _is_port(port)):
            raise _fault(top, key, 705, f"{text}: {each!r} is no host and no host:port", todo)
        found.append(f"{host}:{port}")
    if len(set(found)) != len(found):
        raise _fault(top, key, 705, f"{text}: it has duplicates", todo)
    if found and len(found) % 2 == 0:
        raise _fault(
            top,
            key,
            706,
            f"non-odd number of management service replicas in configuration: {len(found)}",
            f"'{key}' must contain an odd number (e.g. 1, 3, 5, etc.) of addresses; fix the "
            "configuration and restart the control server",
        )
    if len(found) > 1:
        text = "several replicas of the management service are not supported yet: name one host"
        raise top.wrong(key, text)
    return found


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= PORT_MAX


def _name(top: Section) -> str:
    name = top.text("name", SYSTEM)
    if not 1 <= len(name) <= NAME_SIZE_MAX:
        raise top.wrong("name", f"a name of 1 to {NAME_SIZE_MAX} characters, not {name[:32]!r}")
    return name


def _port(top: Section) -> int:
    port = top.number("port", PORT)
    if not 1 <= port <= PORT_MAX:
        text = "invalid control port in configuration"
        todo = (
            "specify a positive non-zero network port in configuration ('port' parameter) "
            "and restart the control server"
        )
        raise _fault(top, "port", 703, text, todo)
    return port


def _metadata(top: Section) -> Path | None:
    section = top.section("control_metadata")
    if section.text("device"):
        if not section.text("path"):
            raise FaultError(
                "serverconfig",
                701,
                "using a control_metadata device requires a path to use as the mount point "
                f"({section.at('device')})",
                "add a valid 'path' to the 'control_metadata' section of the config",
                code=DER.INVAL,
            )
        raise section.wrong("device", "not supported: mount it yourself and name its path")
    return _path(section, "path")


def _fault_domain(top: Section) -> str:
    path = top.text("fault_path").strip().strip('"').lower()
    if path and not _FAULT_PATH.fullmatch(path):
        text = f"invalid fault domain {path[:64]!r}"
        todo = (
            "specify a valid fault domain ('fault_path' parameter), like /rack1/host3, "
            "and restart the control server"
        )
        raise _fault(top, "fault_path", 717, text, todo)
    return path


def _restart_delay(top: Section) -> int:
    delay = top.number("engine_auto_restart_min_delay", 300)
    if delay < 0:
        raise top.wrong("engine_auto_restart_min_delay", f"{delay} s are less than nothing")
    return delay


def _provider(top: Section, engines: Sequence[Section]) -> str:
    """The one that all engines have."""
    named = [
        (section, section.text("provider"))
        for section in (top, *engines)
        if section.text("provider")
    ]
    if not named:
        text = "provider not specified in server configuration"
        todo = (
            "specify a valid network provider in configuration ('provider' parameter) "
            "and restart the control server"
        )
        raise _fault(top, "provider", 707, text, todo)
    for section, provider in named:
        if provider not in _PROVIDERS:
            known = ", ".join(_PROVIDERS)
            what = "not supported" if _PROVIDER.fullmatch(provider) else "no provider"
            hint = f"there are {known}: {_LIBFABRIC}"
            raise section.wrong("provider", f"{provider[:64]!r} is {what}; {hint}")
        if provider != named[0][1]:
            raise section.wrong("provider", "all engines have the same one")
    return named[0][1]


# --- the engines' part ---


def _check_engines(engines: Sequence[Section], *, allow_numa_imbalance: bool) -> None:
    for index, engine in enumerate(engines):
        if "targets" not in engine:
            raise engine.wrong("targets", "required: how many, from 1 on")
        for seen, other in enumerate(engines[:index]):
            _check_pair(engine, index, other, seen)
    nodes = [engine.number_or_none("pinned_numa_node") for engine in engines]
    counts = {node: nodes.count(node) for node in nodes if node is not None}
    if len(set(counts.values())) > 1 and not allow_numa_imbalance:
        raise _fault(
            engines[0],
            "pinned_numa_node",
            700,
            f"uneven distribution of engines across NUMA nodes {counts}",
            "config requires an equal number of engines assigned to each NUMA node, or "
            "allow_numa_imbalance: true",
        )


def _check_pair(engine: Section, index: int, other: Section, seen: int) -> None:
    key = "fabric_iface_port"
    if _fabric(engine) == _fabric(other) and _fabric(engine)[0]:
        raise _fault(
            engine,
            key,
            709,
            f"the fabric configuration in I/O Engine {index} is a duplicate of I/O Engine {seen}",
            "ensure that each I/O Engine has a unique combination of provider,fabric_iface,"
            "fabric_iface_port and restart",
        )
    _check_ports(engine, index, other, seen)
    if engine.text("log_file") and engine.text("log_file") == other.text("log_file"):
        raise _duplicate(engine, "log_file", 710, index, seen)
    mounts = [_tier(each).text("scm_mount") for each in (engine, other)]
    if mounts[0] == mounts[1]:
        raise _duplicate(_tier(engine), "scm_mount", 711, index, seen)
    for name, what, number in (
        ("targets", "target", 715),
        ("nr_xs_helpers", "helper stream", 716),
    ):
        mine, theirs = engine.number(name), other.number(name)
        if mine != theirs:
            raise _fault(
                engine,
                name,
                number,
                f"the {what} count is not equal across engines, engine {index} has {mine} "
                f"but engine {seen} has {theirs}",
                f"ensure that each I/O Engine has an equal integer value for {name} parameter "
                "and restart",
            )


def _check_ports(engine: Section, index: int, other: Section, seen: int) -> None:
    """Tag t listens at the port + t: two engines need ports that do not meet."""
    (iface, mine), (other_iface, theirs) = _fabric(engine), _fabric(other)
    if not iface or iface != other_iface:
        return
    if abs(mine - theirs) <= engine.number("targets"):
        text = (
            f"I/O Engine {index} needs the ports {mine} to {mine + engine.number('targets')}, "
            f"and I/O Engine {seen} those from {theirs} on; leave more room between them"
        )
        raise engine.wrong("fabric_iface_port", text)


def _fabric(engine: Section) -> tuple[str, int]:
    return engine.text("fabric_iface"), engine.number("fabric_iface_port")


def _duplicate(section: Section, name: str, number: int, index: int, seen: int) -> FaultError:
    return _fault(
        section,
        name,
        number,
        f"the {name} value in I/O Engine {index} is a duplicate of I/O Engine {seen}",
        f"ensure that each I/O Engine has a unique {name} value and restart",
    )


def _tier(engine: Section) -> Section:
    """The tier that everything is kept in. Raises: InvalidError"""
    tiers = engine.sections("storage")
    if not tiers:
        raise engine.wrong("storage", "required: one tier, with class: ram and a scm_mount")
    for tier in tiers:
        kind = tier.text("class")
        if kind == "dcpm" or tier.texts("scm_list"):
            raise tier.wrong("class", "not supported: there is no persistent memory; use ram")
        if kind in ("nvme", "kdev", "file") or tier.texts("bdev_list"):
            raise tier.wrong("class", f"{kind or 'bdev_list'} is not supported: {_SPDK}")
        if kind != "ram":
            raise tier.wrong("class", "required: ram")
    if len(tiers) > 1:
        raise tiers[1].wrong("class", "one tier is all there is")
    if not tiers[0].text("scm_mount").startswith("/"):
        raise tiers[0].wrong("scm_mount", "required: the directory of this engine, from / on")
    return tiers[0]


def _engine(engine: Section, provider: str) -> EngineConfig:
    if "first_core" in engine and "pinned_numa_node" in engine:
        raise engine.wrong("first_core", "give this or pinned_numa_node, not both")
    iface, port = _fabric(engine)
    if provider != "sm" and (not iface or not port):
        key = "fabric_iface_port" if iface else "fabric_iface"
        raise engine.wrong(key, f"required with provider {provider}")
    if port + engine.number("targets") > PORT_MAX:
        raise engine.wrong("fabric_iface_port", f"tags need the ports up to {port} + targets")
    return EngineConfig(
        storage=Path(_tier(engine).text("scm_mount")),
        targets=engine.number("targets"),
        helpers=engine.number("nr_xs_helpers"),
        first_core=engine.number_or_none("first_core"),
        pinned_numa_node=engine.number_or_none("pinned_numa_node"),
        modules=engine.text("modules"),
        fabric_iface=iface if provider != "sm" else "",
        fabric_iface_port=port if provider != "sm" else 0,
        log_file=_path(engine, "log_file"),
        log_mask=engine.text("log_mask"),
        env_vars=tuple(_pairs(_assignments(engine, "env_vars"))),
        env_pass_through=engine.texts("env_pass_through"),
    )


def _assignments(section: Section, key: str) -> tuple[str, ...]:
    for each in section.texts(key):
        if not _ENV.match(each):
            raise section.wrong(key, f"{each[:64]!r} is no NAME=VALUE")
    return section.texts(key)


def _pairs(assignments: Iterable[str]) -> Iterable[tuple[str, str]]:
    for each in assignments:
        name, _, value = each.partition("=")
        yield name, value


def _path(section: Section, key: str) -> Path | None:
    text = section.text(key)
    if text and not text.startswith("/"):
        raise section.wrong(key, f"{text[:64]!r} is no path from / on")
    return Path(text) if text else None
