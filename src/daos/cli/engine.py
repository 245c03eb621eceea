"""`daos_engine`: one rank of a system. A server starts it; by itself it waits for one.

    -t N     targets                       -g NAME  name of the system
    -x N     helpers, of all targets       -s DIR   storage
    -f N     first core, if not by -I      -d DIR   sockets, its server's among them
    -p N     NUMA node                     -I N     number of the engine on its host
    -m A,B   modules                       -h       help

    D_INTERFACE, D_PORT    listen on that interface, too: tag t at D_PORT + t
    D_LOG_MASK             what is logged: ERR, WARN, INFO, DEBUG; `ERR,mgmt=DEBUG`: more of some
    DAOS_SCHED_PRIO_DISABLED       1: requests run as they come, whatever else is to be done
    DAOS_SCHED_UNIT_RUNTIME_MAX    ms; what runs longer without a pause is logged (32)

SIGUSR1 and SIGUSR2 have it write what it is at into the directory of its sockets.

Options that the reference has for hardware are refused by name: there is nothing behind them.

Source: DAOS src/engine/init.c parse, print_usage
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import os
import random
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from daos.base.clock import SystemClock
from daos.base.directory import LOCK, Lock, told_by
from daos.base.errors import DaosError, InvalidError
from daos.cart.transport.ranks import PORT_MAX
from daos.control.network import address_of
from daos.engine import cores, logmask, process
from daos.engine.config import TARGETS_MAX, EngineConfig
from daos.engine.modules import Modules
from daos.engine.sched_core import SchedConfig

_PROGRAM: Final = "daos_engine"
MODULES: Final = "mgmt,pool,cont,obj"
_MODULES_SIZE_MAX: Final = 64
_GROUP_SIZE_MAX: Final = 15
# An engine that was killed may have a target that ends right now.
_LOCK_S: Final = 2.0
_HELPERS_PER_TARGET: Final = 2
_TURN_MS_MAX: Final = 60_000
_REFUSED: Final = {
    "-c": "the old name of -t: say -t",
    "-n": "a configuration of NVMe: devices are files in the storage",
    "-b": "health of NVMe: devices are files in the storage",
    "-r": "memory of SPDK: devices are files in the storage",
    "-H": "huge pages: none are used",
    "-T": "storage tiers: data and metadata share a device",
    "-C": "check mode: there is no checker yet",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    environ = os.environ
    try:
        config = _config(options, environ)
        names = _names(options.modules)
        _log(environ)
    except InvalidError as error:
        parser.error(error.message)
    try:
        with told_by(config.storage):
            config.storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        with told_by(config.sockets):
            config.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        _take_all_descriptors()
        lock = Lock(config.storage / LOCK, wait_s=_LOCK_S, for_children=True)
        try:
            return process.start(config, Modules.load(names))
        finally:
            lock.release()
    except DaosError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        return 1


def _take_all_descriptors() -> None:
    """Six for each shard, one for each client: the usual soft limit, 1024, is soon used up."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _config(options: argparse.Namespace, environ: Mapping[str, str]) -> EngineConfig:
    """Raises: InvalidError"""
    usable = sorted(os.sched_getaffinity(0))
    if options.numa is not None:
        usable = cores.of_node(options.numa, usable)
    if not 1 <= options.targets <= TARGETS_MAX:
        raise InvalidError(f"-t {options.targets}: 1 to {TARGETS_MAX} targets")
    if not 0 <= options.helpers <= _HELPERS_PER_TARGET * options.targets:
        most = _HELPERS_PER_TARGET * options.targets
        raise InvalidError(
            f"-x {options.helpers}: 0 to {most} helpers for {options.targets} targets"
        )
    if not 1 <= len(options.group) <= _GROUP_SIZE_MAX:
        raise InvalidError(f"-g {options.group!r}: a name of 1 to {_GROUP_SIZE_MAX} characters")
    if options.instance < 0 or (options.first or 0) < 0:
        raise InvalidError("-f and -I are numbers from 0 on")
    return EngineConfig(
        targets=options.targets,
        storage=Path(options.storage).absolute(),
        sockets=Path(options.sockets).absolute(),
        group=options.group,
        instance=options.instance,
        tcp=_tcp(environ, options.targets),
        helpers=options.helpers,
        cores=cores.plan(
            usable,
            first=options.first,
            instance=options.instance,
            targets=options.targets,
            helpers=options.helpers,
        ),
        sched=_sched(environ),
        clock=SystemClock(),
        rng=random.SystemRandom(),
        new_loop=_new_loop(),
    )


def _names(text: str) -> list[str]:
    if len(text) > _MODULES_SIZE_MAX:
        raise InvalidError(f"-m: a list of at most {_MODULES_SIZE_MAX} characters")
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InvalidError(f"-m {text!r}: names with commas between them")
    return names


def _tcp(environ: Mapping[str, str], targets: int) -> tuple[str, int] | None:
    """Where to listen besides Unix sockets. Raises: InvalidError"""
    interface, port = environ.get("D_INTERFACE"), environ.get("D_PORT")
    if not interface or not port:
        return None
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= PORT_MAX - targets):
        raise InvalidError(f"D_PORT={port}: a port from 1 to {PORT_MAX - targets}")
    try:
        return address_of(interface), int(port)
    except InvalidError as error:
        raise InvalidError(f"D_INTERFACE={interface}: {error.message}") from None


def _sched(environ: Mapping[str, str]) -> SchedConfig:
    """Raises: InvalidError"""
    disabled = environ.get("DAOS_SCHED_PRIO_DISABLED", "").lower() in {"1", "true", "yes"}
    turn = environ.get("DAOS_SCHED_UNIT_RUNTIME_MAX", "32")
    if not (turn.isascii() and turn.isdigit() and 0 < int(turn) <= _TURN_MS_MAX):
        text = f"DAOS_SCHED_UNIT_RUNTIME_MAX={turn}: milliseconds, 1 to {_TURN_MS_MAX}"
        raise InvalidError(text)
    return SchedConfig(prioritised=not disabled, turn_ms_max=int(turn))


def _log(environ: Mapping[str, str]) -> None:
    """Raises: InvalidError"""
    try:
        # Some facilities of the reference (`MEM=ERR`) name nothing here.
        levels = logmask.parse(environ.get("D_LOG_MASK", ""), strict=False)
    except InvalidError as error:
        raise InvalidError(f"D_LOG_MASK: {error.message}") from None
    logging.basicConfig(format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    logmask.apply(levels)


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.SelectorEventLoop
    factory: Callable[[], asyncio.AbstractEventLoop]
    factory = importlib.import_module("uvloop").new_event_loop
    return factory


class _Refuse(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 of whatever type
        option_string: str | None = None,
    ) -> NoReturn:
        parser.error(f"{option_string} is not supported: {_REFUSED[option_string or '']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="One rank of a DAOS system.")
    add = parser.add_argument
    add("-t", dest="targets", type=int, default=1, metavar="N", help="targets")
    add("-x", dest="helpers", type=int, default=0, metavar="N", help="helpers of all targets")
    add("-f", dest="first", type=int, metavar="N", help="first core")
    add("-p", dest="numa", type=int, metavar="N", help="NUMA node whose cores are used")
    add("-m", dest="modules", default=MODULES, metavar="A,B", help="modules, %(default)s")
    add("-g", dest="group", default="daos_server", metavar="NAME", help="name of the system")
    add("-s", dest="storage", default="/mnt/daos", metavar="DIR", help="storage, %(default)s")
    add(
        "-d",
        dest="sockets",
        default="/var/run/daos_server",
        metavar="DIR",
        help="sockets, %(default)s",
    )
    add("-I", dest="instance", type=int, default=0, metavar="N", help="its number on this host")
    for option in _REFUSED:
        add(option, nargs="?", action=_Refuse, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
