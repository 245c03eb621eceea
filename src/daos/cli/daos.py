"""`daos`: what users of a system do with pools, containers and objects.

Source: DAOS src/control/cmd/daos/main.go; features §2.2
"""

from __future__ import annotations

import click

from daos.cli.frame import Entry, Tool, run_tool

TOOL = Tool(
    "daos",
    options=[
        click.Option(["-G", "--sys-name"], metavar="NAME", help="The system (daos_server)."),
        click.Option(["--verbose"], is_flag=True, help="Tell more."),
    ],
    entries={
        "pool": Entry("daos.cli.daos_pool:group", "Query pools, and attributes of pools."),
        "container": Entry(
            "daos.cli.daos_container:group", "Make, query and destroy containers.", ("cont",)
        ),
        "filesystem": Entry(
            "daos.cli.daos_filesystem:group", "Copy trees of files; their attributes.", ("fs",)
        ),
        "object": Entry("daos.cli.daos_object:group", "Query objects.", ("obj",)),
        "system": Entry("daos.cli.daos_system:group", "Query the system.", ("sys",)),
        "health": Entry("daos.cli.daos_health:group", "Tell whether the system is well."),
        "server-version": Entry(
            "daos.cli.daos_system:server_version", "Print the version of the servers."
        ),
        "version": Entry("daos.cli.version:command", "Print the version."),
        "completion": Entry("daos.cli.completion:command", "Print a script that completes words."),
        "manpage": Entry("daos.cli.manpage:command", "Print the page for man.", hidden=True),
    },
    help="Work with the pools, containers and objects of a DAOS system.",
)


def run() -> None:
    """The console script."""
    run_tool(TOOL)


if __name__ == "__main__":
    run()
