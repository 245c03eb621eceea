"""Words completed by a shell: bash for real, zsh and fish by what their scripts ask of a tool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daos.embedded.remote import connect
from daos.testing.served import Served
from tests.system.agent import SmallAgent

BIN = Path(sys.executable).parent
Complete = Callable[..., list[str]]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A served system with pools and a container, and an agent that leads there."""
    directory = tmp_path_factory.mktemp("c")
    with (
        Served(directory, "--targets", "2") as served,
        SmallAgent(directory, directory / "s") as agent,
    ):
        with connect(served.address) as system:
            for label in ("tank", "tape", "scratch"):
                system.admin.pool_create(label, size="64MiB")
            with system.connect() as client, client.pool("tank") as pool:
                pool.create_container("results").close()
        yield {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(directory),
            "DAOS_AGENT_DRPC_DIR": str(agent.socket.parent),
        }


BASH = """\
eval "$({tool} completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_{tool}_completion {tool} "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def complete(environ: dict[str, str]) -> Complete:
    bash = shutil.which("bash")
    assert bash is not None

    def completed(words: str, **more: str) -> list[str]:
        tool = words.split()[0]
        done = subprocess.run(
            [bash, "--norc", "-c", BASH.format(tool=tool, words=words)],
            env={**environ, **more},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return completed


def test_commands_and_options(complete: Complete) -> None:
    assert complete("dmg po") == ["pool"]
    assert complete("dmg storage query ''") == ["list-devices", "list-pools", "usage"]
    assert complete("daos container lis") == ["list", "list-attr", "list-objects", "list-snap"]
    assert complete("daos pool query --he") == ["--health-only", "--help"]
    assert complete("daos cont cr") == ["create", "create-snap"]  # by an alias
    assert complete("daos completion ''") == ["bash", "zsh", "fish"]


def test_labels_of_pools_and_containers(complete: Complete) -> None:
    assert complete("daos pool query ''") == ["scratch", "tank", "tape"]
    assert complete("daos pool query ta") == ["tank", "tape"]
    assert complete("daos pool get-attr tan") == ["tank"]
    assert complete("daos container query tank ''") == ["results"]
    assert complete("daos cont list-attr tank r") == ["results"]
    assert complete("daos object query tank res") == ["results"]
    assert complete("daos container query scratch ''") == []


def test_where_nobody_answers_nothing_is_said(complete: Complete, tmp_path: Path) -> None:
    assert complete("daos pool query ''", DAOS_AGENT_DRPC_DIR=str(tmp_path)) == []
    assert complete("daos container query nowhere ''") == []
    assert complete("dmg pool query ''", DAOS_SOCKET_DIR=str(tmp_path)) == []
    assert complete("daos pool query --sys-name other ''") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_what_other_shells_ask(environ: dict[str, str], shell: str) -> None:
    script = subprocess.run(
        [BIN / "daos", "completion", shell], env=environ, capture_output=True, text=True, check=True
    ).stdout
    assert f"_DAOS_COMPLETE={shell}_complete" in script
    words = {
        "zsh": {"COMP_WORDS": "daos pool query ta", "COMP_CWORD": "3"},
        "fish": {"COMP_WORDS": "daos pool query ta", "COMP_CWORD": "ta"},
    }[shell]
    done = subprocess.run(
        [BIN / "daos"],
        env={**environ, "_DAOS_COMPLETE": f"{shell}_complete", **words},
        capture_output=True,
        text=True,
        check=True,
    )
    told = {"zsh": "plain\ntank\n_\nplain\ntape\n_\n", "fish": "plain,tank\nplain,tape\n"}
    assert done.stdout.strip() == told[shell].strip()
