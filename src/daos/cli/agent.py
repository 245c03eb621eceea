"""`daos_agent`: tells the clients of a host where the ranks of the system are.

    daos_agent [start]            listens on <runtime_dir>/daos_agent.sock until SIGINT or SIGTERM
    daos_agent dump-attachinfo    what it would tell, as a file

SIGUSR1 evicts the handles of this host's processes, SIGUSR2 has it ask the servers anew.

Source: DAOS src/control/cmd/daos_agent
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from daos.base.directory import Lock
from daos.base.errors import BusyError, InvalidError
from daos.cli import background, frame, logs
from daos.cli.frame import Answer, Command, Entry, Options, Tool
from daos.control import files
from daos.control.config.model import AgentConfig
from daos.control.places import AGENT_CONFIG, AGENT_DIR, AGENT_LOCK, User
from daos.control.places import control_hosts as hosts_of

PROGRAM: Final = "daos_agent"


@click.command("start", cls=Command)
@click.pass_obj
def start(options: Options) -> Answer:
    """Listen for clients; what happens without a command."""
    background.keep_standard_descriptors()
    config = _configure(options)
    logs.begin(config.log_file, config.log_mask, as_json=bool(options.get("json_logging")))
    files.make_private(config.directory, 0o755 if config.mode & 0o077 else 0o700)
    try:
        lock = Lock(config.directory / AGENT_LOCK)
    except BusyError as error:
        raise BusyError(f"an agent runs already: {error.message}") from None
    try:
        from daos.cli import agent_service  # gRPC: a command that only looks does without

        agent_service.serve(config, PROGRAM)
    finally:
        lock.release()
    return Answer()


@click.command("dump-attachinfo", cls=Command)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.pass_obj
def dump_attachinfo(options: Options, output: Path | None) -> Answer:
    """Write where the ranks are."""
    from daos.cli import agent_service

    found = agent_service.ask(_configure(options))
    uris = sorted((each.rank, each.uri) for each in found.rank_uris)
    lines = [f"name {found.sys}", f"size {len(uris)}", "all"]
    text = "\n".join([*lines, *(f"{rank} {uri}" for rank, uri in uris)]) + "\n"
    response = {"sys": found.sys, "rank_uris": [{"rank": r, "uri": u} for r, u in uris]}
    if output is not None:
        files.replace(output, text.encode())
        return Answer(response=response)
    return Answer(text, response)


@click.command("server-version", cls=Command)
@click.pass_obj
def server_version(options: Options) -> Answer:
    """Print the version of the servers."""
    from daos.cli import agent_service

    build = agent_service.ask(_configure(options)).build_info
    version = f"{build.major}.{build.minor}.{build.patch}"
    return Answer(f"daos_server version {version}\n", {"name": "daos_server", "version": version})


@click.command("net-scan", cls=Command)
@click.option("-p", "--provider", default="", help="Only of this one (all).")
def net_scan(provider: str) -> Answer:
    """Tell the interfaces of this host."""
    from daos.cli.here import network_scan

    return network_scan(provider)


TOOL: Final = Tool(
    PROGRAM,
    options=[
        click.Option(["-o", "--config-path"], metavar="FILE", help="Configuration of the agent."),
        click.Option(["-J", "--json-logging"], is_flag=True, help="Log in JSON."),
        click.Option(["--allow-proxy"], is_flag=True, help="By the proxy of the environment."),
        click.Option(
            ["-i", "--insecure"], is_flag=True, help="Without certificates, and without a file."
        ),
        click.Option(["-s", "--runtime_dir"], metavar="DIR", help="Directory of sockets."),
        click.Option(["-l", "--logfile"], metavar="FILE", help="Log to this file."),
    ],
    entries={
        "version": Entry("daos.cli.version:command", "Print the version."),
        "manpage": Entry("daos.cli.manpage:command", "Print the page for man.", hidden=True),
    },
    alone=start,
    help="The agent of a DAOS client host.",
)
TOOL.add_command(start)
TOOL.add_command(dump_attachinfo)
TOOL.add_command(net_scan)
TOOL.add_command(server_version)


def main() -> None:
    """The console script."""
    sys.exit(frame.main(TOOL))


def _configure(options: Options) -> AgentConfig:
    """Raises: InvalidError"""
    path = _path(options, "config_path")
    if path is None and os.access(AGENT_CONFIG, os.R_OK) and not options.get("insecure"):
        path = AGENT_CONFIG
    if path is not None:
        from daos.control.config.others import parse_agent

        raw = files.read(path)
        if raw is None:
            raise InvalidError(f"there is no configuration file {path}")
        config = parse_agent(raw.decode(errors="replace"), file=str(path))
        for notice in config.notices:
            sys.stderr.write(f"NOTICE: {notice}\n")
    else:
        user = User(os.getuid(), Path.home(), os.environ)
        directory = Path(os.environ.get(AGENT_DIR) or user.own.agent)
        hosts = hosts_of(user, (), os.path.exists)
        config = AgentConfig(directory=directory, hosts=hosts, mode=0o600)
    changes: dict[str, Any] = {
        "directory": _path(options, "runtime_dir"),
        "log_file": _path(options, "logfile"),
        "log_mask": "DEBUG" if options.debug else None,
        "allow_proxy": options.get("allow_proxy"),
    }
    return replace(config, **{name: value for name, value in changes.items() if value})


def _path(options: Options, name: str) -> Path | None:
    given: str | None = options.get(name)
    return Path(given).absolute() if given else None


if __name__ == "__main__":
    main()
