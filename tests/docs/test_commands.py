"""docs/commands.md says what the programs have: their trees of commands are walked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import click
import pytest

from daos.cli import agent, daos, dmg, engine, server
from daos.cli.frame import Group, is_shared
from tests.tidy.tree import ROOT

PAGE = ROOT / "docs/commands.md"
TOOLS: Mapping[str, click.Group] = {
    "daos": daos.TOOL,
    "dmg": dmg.TOOL,
    "daos_server": server.TOOL,
    "daos_agent": agent.TOOL,
}
STATE = re.compile(r"(built|ours|waits: .+|no: .+)")


class Row(NamedTuple):
    """What the page says of a command."""

    command: str
    options: frozenset[str]
    missing: frozenset[str]
    state: str


def rows(tool: str) -> Iterator[Row]:
    section = re.split(r"^## ", PAGE.read_text(), flags=re.M)
    (text,) = [part for part in section if part.startswith(f"{tool}\n")]
    for line in text.splitlines():
        if line.startswith("| `") and not line.startswith("| `-"):
            command, options, missing, state = (cell.strip() for cell in line.strip("|").split("|"))
            names = [frozenset(re.findall(r"`(--[\w-]+)`", cell)) for cell in (options, missing)]
            yield Row(command.strip("`"), names[0], names[1], state)


def built(command: click.Command, path: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    """Commands of a tree, and the long names of their own options, but hidden ones."""
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from built(inner, f"{path} {name}".strip())
        return
    own = frozenset(
        max(each.opts, key=len)
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden and not is_shared(each)
    )
    yield path, own


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_built_is_what_the_page_says(tool: str) -> None:
    there = dict(built(TOOLS[tool]))
    said: dict[str, frozenset[str]] = {}
    for row in rows(tool):
        assert STATE.match(row.state), row
        if row.state.startswith(("built", "ours")):
            said[row.command] = said.get(row.command, frozenset()) | row.options
            assert not row.missing & there[row.command], row.command
        else:
            assert row.command not in there, row.command
            assert not row.options, row.command
    assert said == there


@pytest.mark.parametrize("tool", TOOLS)
def test_each_command_stands_once(tool: str) -> None:
    seen = [(row.command, row.state == "ours") for row in rows(tool)]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("tool", TOOLS)
def test_options_of_the_whole_tool(tool: str) -> None:
    (line,) = re.findall(rf"^\| {tool} \| ([^|]*) \| ([^|]*)\|$", PAGE.read_text(), re.M)
    built, missing = (set(re.findall(r"`(--[\w-]+)`", cell)) for cell in line)
    there = {max(each.opts, key=len) for each in TOOLS[tool].params}
    assert built == there
    assert not missing & there


def test_aliases_are_there() -> None:
    (text,) = re.findall(r"Aliases: ([^.]+)\.", PAGE.read_text())
    known = set[str]()

    def look(group: click.Group) -> None:
        assert isinstance(group, Group)
        known.update(group.aliases)
        context = click.Context(group)
        for name in group.list_commands(context):
            inner = group.get_command(context, name)
            if isinstance(inner, click.Group):
                look(inner)

    for tool in TOOLS.values():
        look(tool)
    assert set(re.findall(r"`([\w-]+)`", text)) <= known


def test_the_engines_options() -> None:
    said = dict(re.findall(r"^\| `(-\w)` \| .* \| (built|refused) \|$", PAGE.read_text(), re.M))
    parser = engine._parser()
    there = {name for action in parser._actions for name in action.option_strings}
    assert set(said) == there - {"-h", "--help"}
    assert {name for name, state in said.items() if state == "refused"} == set(engine._REFUSED)
