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
from typing import Any, Final, NamedTuple

import click

from daos.base.directory import Lock
from daos.base.errors import BusyError, DaosError, InvalidError
from daos.base.version import VERSION
from daos.cli import background, logs, told
from daos.control import files
from daos.control.config.model import AgentConfig
from daos.control.places import AGENT_CONFIG, AGENT_DIR, AGENT_LOCK, User
from daos.control.places import control_hosts as hosts_of

PROGRAM: Final = "daos_agent"


class _Global(NamedTuple):
    config: AgentConfig
    as_json: bool
    json_logging: bool


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-o", "--config-path", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("-d", "--debug", is_flag=True, help="Log what is done in detail.")
@click.option("-j", "--json", "as_json", is_flag=True, help="Answer in JSON.")
@click.option("-J", "--json-logging", is_flag=True, help="Log in JSON.")
@click.option("-i", "--insecure", is_flag=True, help="Do without certificates, and without a file.")
@click.option("-s", "--runtime_dir", type=click.Path(path_type=Path), help="Directory of sockets.")
@click.option("-l", "--logfile", type=click.Path(path_type=Path), help="Log to this file.")
@click.pass_context
def main(context: click.Context, /, **given: Any) -> None:  # noqa: ANN401 what click gives
    """The agent of a DAOS client host."""
    if context.invoked_subcommand == "version":
        context.obj = _Global(AgentConfig(Path()), given["as_json"], False)
        return
    try:
        config = _configure(given)
    except DaosError as error:
        told.fail(PROGRAM, told.describe(error), as_json=given["as_json"])
    context.obj = _Global(config, given["as_json"], given["json_logging"])
    if context.invoked_subcommand is None:
        context.invoke(start)


@main.command()
@click.pass_obj
def version(options: _Global) -> None:
    """Print which version this is."""
    if options.as_json:
        told.envelope({"name": "DAOS Agent", "version": VERSION})
    else:
        click.echo(f"{PROGRAM} version {VERSION}")


@main.command()
@click.pass_obj
def start(options: _Global) -> None:
    """Listen for clients; what happens without a command."""
    background.keep_standard_descriptors()
    config = options.config
    try:
        logs.begin(config.log_file, config.log_mask, as_json=options.json_logging)
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
    except DaosError as error:
        told.fail(PROGRAM, told.describe(error), as_json=options.as_json)


@main.command("dump-attachinfo")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.pass_obj
def dump_attachinfo(options: _Global, output: Path | None) -> None:
    """Write where the ranks are."""
    from daos.cli import agent_service

    try:
        found = agent_service.ask(options.config)
    except DaosError as error:
        told.fail(PROGRAM, told.describe(error), as_json=options.as_json)
    uris = sorted((each.rank, each.uri) for each in found.rank_uris)
    lines = [f"name {found.sys}", f"size {len(uris)}", "all"]
    text = "\n".join([*lines, *(f"{rank} {uri}" for rank, uri in uris)]) + "\n"
    if options.as_json:
        told.envelope({"sys": found.sys, "rank_uris": [{"rank": r, "uri": u} for r, u in uris]})
    elif output is None:
        click.echo(text, nl=False)
    else:
        files.replace(output, text.encode())


def _configure(given: dict[str, Any]) -> AgentConfig:
    """Raises: InvalidError"""
    path: Path | None = given["config_path"]
    if path is None and os.access(AGENT_CONFIG, os.R_OK) and not given["insecure"]:
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
        hosts = hosts_of(user, (), Path.exists)
        config = AgentConfig(directory=directory, hosts=hosts, mode=0o600)
    changes: dict[str, Any] = {
        "directory": given["runtime_dir"] and given["runtime_dir"].absolute(),
        "log_file": given["logfile"] and given["logfile"].absolute(),
        "log_mask": "DEBUG" if given["debug"] else None,
    }
    return replace(config, **{name: value for name, value in changes.items() if value})


if __name__ == "__main__":
    main()
