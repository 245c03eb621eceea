"""The session of docs/servers.md: each command runs, and prints what stands below it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from daos.control.config.server import parse
from daos.testing.own_system import OwnSystem

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_session() -> None:
    text = (ROOT / "docs/servers.md").read_text()
    compared = 0
    with OwnSystem(os.environ) as system:
        environ = {**system.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        printed = ""
        for kind, body in _BLOCK.findall(text):
            match kind:
                case "sh":
                    # A place of its own; what a user types goes to the home, or root's.
                    script = body.replace(
                        "daos_server start", f"daos_server start -s {system.base}/storage"
                    )
                    command = ["sh", "-ec", script]
                case "python":
                    command = [sys.executable, "-c", body]
                case "text":
                    assert printed.endswith(body), body
                    compared += 1
                    continue
                case _:
                    continue
            done = subprocess.run(
                command, env=environ, capture_output=True, text=True, timeout=120, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), (body, done)
            printed = done.stdout
        assert system.left() == []
    assert compared == 3


def test_the_configuration() -> None:
    (body,) = (
        body
        for kind, body in _BLOCK.findall((ROOT / "docs/servers.md").read_text())
        if kind == "yaml"
    )
    config = parse(body, file="daos_server.yml")
    assert [engine.targets for engine in config.engines] == [2, 2]
