"""`version`, of any tool.

Source: features §2.0
"""

from __future__ import annotations

import click

from daos.base.version import VERSION
from daos.cli.frame import Answer, Command


@click.command("version", cls=Command)
@click.pass_context
def command(ctx: click.Context) -> Answer:
    """Print the version."""
    name = ctx.find_root().command.name
    return Answer(f"{name} version {VERSION}\n", {"name": name, "version": VERSION})
