"""`manpage`, of any tool, hidden: its page for man(1), made of its commands.

    daos manpage > daos.8; man ./daos.8

Source: DAOS src/control/cmd (hidden command of go-flags); man(7)
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from daos.base.version import VERSION
from daos.cli.frame import Answer, Command, Group, Tool, is_shared

_SECTION = 8  # administration


@click.command("manpage", cls=Command)
@click.pass_context
def command(ctx: click.Context) -> Answer:
    """Print the page for man."""
    root = ctx.find_root().command
    assert isinstance(root, Tool)
    text = page(root)
    return Answer(text, {"name": root.name, "section": _SECTION, "page": text})


def page(tool: Tool) -> str:
    """The page, in the language of man(7)."""
    name = tool.name or ""
    lines = [
        f'.TH {name.upper()} {_SECTION} "" "DAOS {VERSION}" "DAOS"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(_sentence(tool).rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_text(name)}",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]",
        ".SH OPTIONS",
        "Options of the tool stand before the command, or behind it.",
        *_options(tool.shared),
        ".SH COMMANDS",
    ]
    for path, each in _commands(tool, name):
        own = [option for option in each.params if not is_shared(option)]
        arguments = [f"\\fI{_text(_metavar(p))}\\fR" for p in own if isinstance(p, click.Argument)]
        lines += [f".SS {_text(path)} {' '.join(arguments)}".rstrip(), _text(_sentence(each))]
        lines += _options([p for p in own if isinstance(p, click.Option) and not p.hidden])
    lines += [
        ".SH EXIT STATUS",
        "0: done. 1: it failed, or was used wrongly; why is said on standard error, or with",
        "\\-\\-json in the object that is printed.",
    ]
    return "\n".join(lines) + "\n"


def _commands(group: Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        inner = group.get_command(context, name)
        assert inner is not None
        if isinstance(inner, Group):
            yield from _commands(inner, f"{path} {name}")
        else:
            yield f"{path} {name}", inner


def _options(options: list[click.Option]) -> Iterator[str]:
    for option in options:
        names = ", ".join(f"\\fB{_text(name)}\\fR" for name in option.opts)
        value = "" if option.is_flag else f" \\fI{_text(_metavar(option))}\\fR"
        yield from (".TP", names + value, _text(option.help or ""))


def _metavar(parameter: click.Parameter) -> str:
    return parameter.metavar or (parameter.name or "").upper()


def _sentence(each: click.Command) -> str:
    return " ".join((each.help or "").split("\n\n")[0].split())


def _text(text: str) -> str:
    """With what the language would take for its own written otherwise."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{text}" if text.startswith((".", "'")) else text
