"""`daos_server`: the control plane of a host.

    daos_server start     without a configuration: one engine, a local agent, storage that it
                          formats itself; returns when it is ready, goes on in the background
    daos_server start     with one (-o, /etc/daos/daos_server.yml), or with --foreground: stays in
                          front until SIGINT, SIGTERM, SIGQUIT or SIGHUP
    daos_server stop      (ours) stops what runs, in order, and waits for it

Exit status: 0 done; 1 it failed, or there was nothing to stop.

Source: DAOS src/control/cmd/daos_server
"""

from __future__ import annotations

import logging
import os
import random
import select
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from daos.base.clock import SystemClock
from daos.base.directory import LOCK, Lock
from daos.base.errors import (
    AccessError,
    BusyError,
    DaosError,
    InvalidError,
    NoSpaceError,
    error_for,
)
from daos.cli import background, frame, logs
from daos.cli.frame import Answer, Options, Tool, command
from daos.control import faults, files
from daos.control.config.model import EngineConfig, ServerConfig, zero
from daos.control.places import (
    CONTROL_SOCKET,
    MACHINE,
    SERVER_CONFIG,
    SERVER_LOCK,
    SOCKET_DIR,
    Places,
    User,
)
from daos.control.processes import holder

log = logging.getLogger(__name__)

PROGRAM: Final = "daos_server"
_ENGINE: Final = (sys.executable, "-m", "daos.cli.engine")
_AGENT: Final = (sys.executable, "-m", "daos.cli.agent")
_READY_S: Final = 600.0
_STOP_S: Final = 120.0
_ROOM_BYTES: Final = 1 << 20  # an engine needs more to start


TOOL: Final = Tool(
    PROGRAM,
    options=[
        click.Option(["-o", "--config"], metavar="FILE", help="Configuration of the server."),
        click.Option(["-J", "--json-logging"], is_flag=True, help="Log in JSON."),
        click.Option(["--syslog"], is_flag=True, help="Log to the system's log."),
    ],
    entries={
        "network": frame.Entry("daos.cli.here:network", "Tell interfaces of this host.", ("net",)),
        "config": frame.Entry("daos.cli.here:config", "Make a configuration.", ("cfg",)),
        "version": frame.Entry("daos.cli.version:command", "Print the version."),
        "manpage": frame.Entry("daos.cli.manpage:command", "Print the page for man.", hidden=True),
    },
    debug=("-b", "--debug"),
    help="The control plane of a DAOS host.",
)


@command(TOOL, "start")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="Port of the control plane.")
@click.option("-s", "--storage", type=click.Path(path_type=Path), help="Directory of the storage.")
@click.option("-m", "--modules", help="Modules of the engines, with commas between them.")
@click.option("-t", "--targets", type=click.IntRange(1, 64), help="Targets of each engine.")
@click.option("-x", "--xshelpernr", type=click.IntRange(0), help="Helpers of each engine.")
@click.option("-f", "--firstcore", type=click.IntRange(0), help="First core of the engines.")
@click.option("-g", "--group", help="Name of the system.")
@click.option("-d", "--socket_dir", type=click.Path(path_type=Path), help="Directory of sockets.")
@click.option("-i", "--insecure", is_flag=True, help="Listen on TCP without certificates.")
@click.option("--auto-format", is_flag=True, help="Format storage that is not formatted.")
@click.option("--foreground", is_flag=True, help="Stay in front, also without a configuration.")
@click.pass_obj
def start(options: Options, /, **given: Any) -> Answer:  # noqa: ANN401 what click gives
    """Start the server, and its engines.

    Without a configuration file it makes a system of its own for this host, and returns when that
    is ready.
    """
    background.keep_standard_descriptors()
    config, is_zero = _configure(options, given)
    try:
        if is_zero and not given["foreground"]:
            return _start_behind(config, options)
        _serve(config, options, say=_say, ready=lambda: None, whole=is_zero)
    except (AccessError, NoSpaceError) as error:
        if not is_zero or given["storage"] is not None:
            raise
        raise error_for(error.code, f"{error.message}; --storage names another place") from error
    return Answer()


@command(TOOL, "stop")
@click.option("-d", "--socket_dir", type=click.Path(path_type=Path), help="Directory of sockets.")
@click.pass_obj
def stop(options: Options, socket_dir: Path | None) -> Answer:
    """Stop the system that runs here, in order; wait until it has stopped."""
    places, closed = _running_places(options, socket_dir), ""
    for sockets in places:
        try:
            pid = holder(sockets / SERVER_LOCK)
        except AccessError:
            closed += f"; {sockets} is closed to you"
            continue
        if pid is not None:
            _stop(pid)
            return Answer(f"DAOS Control Server (pid {pid}) has stopped", {"pid": pid})
    looked = " or ".join(map(str, places))
    if any(map(holder, _user().own.storage.glob("engine*/lock"))):
        closed += f"; engines go on: `{PROGRAM} start`, then stop it, ends them"
    raise DaosError(f"no server runs in {looked}{closed}")


def main() -> None:
    """The console script."""
    # What gRPC has to say comes as an error of ours; its own lines are of its source files.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(frame.main(TOOL))


# --- configuration ---


def _user() -> User:
    return User(os.getuid(), Path.home(), os.environ)


def _configure(options: Options, given: dict[str, Any]) -> tuple[ServerConfig, bool]:
    """The configuration, and whether there is no file of it. Raises: InvalidError, FaultError"""
    path = Path(named) if (named := options.get("config")) else None
    if path is None and os.access(SERVER_CONFIG, os.R_OK):
        path = SERVER_CONFIG
    if path is not None:
        config = _read(path)
        for notice in config.notices:
            sys.stderr.write(f"NOTICE: {notice}\n")
    else:
        config = _as_formatted(zero(_places(given), environ=os.environ))
    if options.debug:
        config = replace(config, log_mask="DEBUG")
    return _overridden(config, given, is_zero=path is None), path is None


def _read(path: Path) -> ServerConfig:
    # Only here: `daos_server version` and `stop` do without YAML.
    from daos.control.config.server import parse

    raw = files.read(path)
    if raw is None:
        raise InvalidError(f"there is no configuration file {path}")
    try:
        return parse(raw.decode(), file=str(path))
    except UnicodeDecodeError:
        raise InvalidError(f"{path}: this is no text in UTF-8") from None


def _as_formatted(config: ServerConfig) -> ServerConfig:
    """With the numbers of targets that engines have for life, where they have."""
    from daos.control.instance import superblock

    engines = [
        each
        if (block := superblock(each.storage)) is None
        else replace(each, targets=block.targets)
        for each in config.engines
    ]
    return replace(config, engines=tuple(engines))


def _places(given: dict[str, Any]) -> Places:
    """Where a system without configuration is: what options say, the environment, the user."""
    own = _user().own
    sockets = given["socket_dir"] or os.environ.get(SOCKET_DIR) or None
    storage: Path = given["storage"] or own.storage
    if sockets is not None:
        return Places(storage.absolute(), Path(sockets).absolute(), Path(sockets).absolute())
    if given["storage"] is not None:
        run = storage.absolute() / "run"
        return Places(storage.absolute(), run, run)
    return own


def _overridden(config: ServerConfig, given: dict[str, Any], *, is_zero: bool) -> ServerConfig:
    """What options say goes before what the file says."""
    storage: Path | None = given["storage"]
    if storage is not None and not is_zero:
        if len(config.engines) > 1:
            raise InvalidError("--storage is for one engine; the configuration has several")
        engine = replace(config.engines[0], storage=storage.absolute())
        config = replace(config, engines=(engine,))
    of_engines = {
        "modules": given["modules"],
        "targets": given["targets"],
        "helpers": given["xshelpernr"],
        "first_core": given["firstcore"],
    }
    changes = {name: value for name, value in of_engines.items() if value is not None}
    engines: tuple[EngineConfig, ...] = tuple(replace(each, **changes) for each in config.engines)
    of_server = {
        "port": given["port"],
        "name": given["group"],
        "sockets": None if is_zero else given["socket_dir"],
        "insecure": given["insecure"] or None,
        "auto_format": given["auto_format"] or None,
    }
    return replace(
        config,
        engines=engines,
        **{name: value for name, value in of_server.items() if value is not None},
    )


# --- start ---


def _start_behind(config: ServerConfig, options: Options) -> Answer:
    """Start it in the background; returns when it is ready."""
    assert config.log_file is not None
    files.make_private(config.sockets)
    if (pid := holder(config.sockets / SERVER_LOCK)) is not None:
        raise _runs_already(pid, config)
    quiet = options.json

    def say(text: str) -> None:
        if not quiet:
            click.echo(text)

    def run(pipe: background.Pipe) -> int:
        try:
            _serve(
                config,
                options,
                say=pipe.say,
                ready=lambda: pipe.ready(_told(config)),
                whole=True,
            )
        except DaosError as error:
            pipe.failed(faults.emit(error).decode())
            return 1
        # If it was not ready.
        pipe.failed(faults.emit(DaosError("it was stopped while it was starting")).decode())
        return 0

    outcome = background.start(run, log=config.log_file, say=say)
    if outcome.ready is None:
        raise _with_log(faults.parse(outcome.error, "it ended while it was starting"), config)
    return Answer(
        f"DAOS system {config.name!r} is ready: storage in {config.engines[0].storage.parent}, "
        f"log in {config.log_file}",
        outcome.ready,
    )


def _with_log(error: DaosError, config: ServerConfig) -> DaosError:
    """The error, with what may be behind it, and the place where there is more about it."""
    log_file, storage = config.log_file, config.engines[0].storage
    if storage.is_dir() and shutil.disk_usage(storage).free < _ROOM_BYTES:
        return NoSpaceError(f"the file system of {storage} is full: {error.message}")
    if isinstance(error, faults.FaultError) or log_file is None or log_file.name in error.message:
        return error
    return error_for(error.code, f"{error.message} (log: {log_file})")


def _say(text: str) -> None:
    """A line for people, who may have stopped to read."""
    try:
        click.echo(text)
    except OSError:
        log.info("%s", text)


def _told(config: ServerConfig) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "system": config.name,
        "storage": [str(engine.storage) for engine in config.engines],
        "control": f"unix:{config.sockets / CONTROL_SOCKET}",
        "log": str(config.log_file),
    }


def _runs_already(pid: int | str, config: ServerConfig) -> BusyError:
    return BusyError(
        f"a server runs already in {config.sockets}: process {pid}; `{PROGRAM} stop` stops it"
    )


def _serve(
    config: ServerConfig,
    options: Options,
    *,
    say: Callable[[str], object],
    ready: Callable[[], None],
    whole: bool,
) -> None:
    """Run the server until a signal; `whole`: only if all of its engines come up.

    Raises: DaosError  it can't start
    """
    logs.begin(
        config.log_file,
        config.log_mask,
        as_json=bool(options.get("json_logging")) or config.log_json,
    )
    if options.get("syslog"):
        logs.to_syslog(config.log_mask)
    files.make_private(config.sockets)
    files.make_private(config.control)
    try:
        running = Lock(config.sockets / SERVER_LOCK)
    except BusyError:
        raise _runs_already(holder(config.sockets / SERVER_LOCK) or "?", config) from None
    try:
        # Another server may have other sockets, and must not take the engines for left behind.
        keeping = Lock(config.control / LOCK)
        try:
            import asyncio  # as long as all the rest: commands that only look do without

            asyncio.run(_run(config, say=say, ready=ready, whole=whole))
        finally:
            keeping.release()
    finally:
        running.release()


async def _run(
    config: ServerConfig,
    *,
    say: Callable[[str], object],
    ready: Callable[[], None],
    whole: bool,
) -> None:
    # Heavy: gRPC. A command that only looks, or forks, does without.
    import asyncio

    from daos.control.notify import tell
    from daos.control.server import Programs, Server

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    server = Server(
        config,
        programs=Programs(_ENGINE, _AGENT),
        environ=os.environ,
        hostname=socket.gethostname(),
        clock=SystemClock(),
        rng=random.SystemRandom(),
        say=say,
    )

    async def begin() -> None:
        await server.start()
        if whole:
            await server.ready(within_s=_READY_S)
        tell(os.environ, status="ready")
        ready()

    beginning, stopping = loop.create_task(begin()), loop.create_task(stop.wait())
    try:
        await asyncio.wait({beginning, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if beginning.done():
            beginning.result()
        await stopping
    finally:
        for task in (beginning, stopping):
            task.cancel()
        await asyncio.wait({beginning, stopping})
        await server.close()


# --- stop ---


def _running_places(options: Options, socket_dir: Path | None) -> list[Path]:
    """Where a server may run: what options say, the environment, the user's own, the machine's."""
    if socket_dir is not None:
        return [socket_dir.absolute()]
    if named := options.get("config"):
        return [_read(Path(named)).sockets]
    if directory := os.environ.get(SOCKET_DIR):
        return [Path(directory)]
    return list(dict.fromkeys([_user().own.sockets, MACHINE.sockets]))


def _stop(pid: int) -> None:
    """Raises: DaosError  it may not be stopped, or does not"""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(_STOP_S * 1000):
            raise DaosError(f"process {pid} has not stopped within {_STOP_S:g} s")
    except ProcessLookupError:
        return
    except PermissionError:
        raise DaosError(f"process {pid} belongs to somebody else") from None
    finally:
        os.close(pidfd)


if __name__ == "__main__":
    main()
