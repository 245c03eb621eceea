"""`dmg`: what administrators do with a system.

Source: DAOS src/control/cmd/dmg/main.go; features §2.1
"""

from __future__ import annotations

import click

from daos.cli.frame import Entry, Tool, run_tool

TOOL = Tool(
    "dmg",
    options=[
        click.Option(["-i", "--insecure"], is_flag=True, help="Without certificates."),
        click.Option(["--allow-proxy"], is_flag=True, help="By the proxy of the environment."),
        click.Option(["--log-file"], metavar="FILE", help="Log what is done, more with -d."),
        click.Option(["-J", "--json-logging"], is_flag=True, help="Log in JSON."),
        click.Option(["-o", "--config-path"], metavar="FILE", help="Configuration of dmg."),
        click.Option(
            ["-l", "--host-list"], metavar="HOSTS", help="Whom to ask, like host1:10001,host2."
        ),
    ],
    entries={
        "pool": Entry("daos.cli.dmg_pool:group", "Make, query and destroy pools."),
        "system": Entry("daos.cli.dmg_system:group", "Query, stop and start ranks.", ("sys",)),
        "storage": Entry(
            "daos.cli.dmg_storage:group", "Scan and format storage, tell how it is used.", ("sto",)
        ),
        "network": Entry("daos.cli.dmg_network:network", "Tell interfaces of hosts.", ("net",)),
        "config": Entry("daos.cli.dmg_network:config", "Make a configuration.", ("cfg",)),
        "server": Entry("daos.cli.dmg_network:server", "Tell servers what to log.", ("srv",)),
        "server-version": Entry(
            "daos.cli.dmg_system:server_version", "Print the version of the servers."
        ),
        "version": Entry("daos.cli.version:command", "Print the version."),
        "completion": Entry("daos.cli.completion:command", "Print a script that completes words."),
        "manpage": Entry("daos.cli.manpage:command", "Print the page for man.", hidden=True),
    },
    help="Administer a DAOS system.",
)


def run() -> None:
    """The console script."""
    run_tool(TOOL)


if __name__ == "__main__":
    run()
