"""Every command has help, takes --json, and is an error when it is used wrongly."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest

from daos.cli import agent, daos, dmg, server
from daos.cli.frame import Tool, main

TOOLS = (daos.TOOL, dmg.TOOL, server.TOOL, agent.TOOL)


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if not isinstance(group, click.Group):
        yield path
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        inner = group.get_command(context, name)
        assert inner is not None
        yield from commands(inner, (*path, name))


EVERY = [(tool, path) for tool in TOOLS for path in commands(tool)]
IDS = [f"{tool.name} {' '.join(path)}" for tool, path in EVERY]


@pytest.mark.parametrize(("tool", "path"), EVERY, ids=IDS)
def test_help(tool: Tool, path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tool, [*path, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"Usage: {tool.name} {' '.join(path)} ")
    assert "--json" in out
    first = out.split("\n\n")[1].strip()
    assert first.endswith(".")
    assert all(len(line) <= 100 for line in out.splitlines())


@pytest.mark.parametrize(("tool", "path"), EVERY, ids=IDS)
def test_wrong_use(tool: Tool, path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([*path, "--no-such-option", "-j"], ["--json", *path, *["x"] * 9]):
        assert main(tool, arguments) == 1
        out, err = capsys.readouterr()
        assert err == ""
        answer = json.loads(out)
        assert (answer["response"], answer["status"]) == (None, -1003)
        assert f"see `{tool.name} {' '.join(path)} --help`" in answer["error"].replace("See", "see")
    assert main(tool, [*path, "--no-such-option"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"ERROR: {tool.name}: ")
