"""`completion SHELL`, of any tool: what the shell reads to complete the tool's words.

    eval "$(daos completion bash)"

Source: ours; click's completion, named by a command that can be found
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from daos.cli.frame import Answer, Command


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> Answer:
    """Print a script for SHELL that completes commands and options."""
    root = ctx.find_root().command
    name = root.name or ""
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(root, {}, name, f"_{name.upper()}_COMPLETE").source()
    return Answer(script, {"shell": shell, "script": script})
