"""Commands that only look import neither gRPC nor a loop: they are to be there at once.

Modules are counted, not milliseconds: what a command imports is what its start costs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("asyncio", "grpc", "lmdb", "google.protobuf", "daos.client.client", "rich", "yaml")
_TOLD = """\
import json, runpy, sys
sys.argv = {line!r}
before = set(sys.modules)
try:
    runpy.run_module('daos.cli.{module}', run_name='__main__')
except SystemExit as end:
    print(json.dumps([end.code, sorted(set(sys.modules) - before)]), file=sys.stderr)
"""


def imported(module: str, *arguments: str, environ: dict[str, str] | None = None) -> list[str]:
    program = _TOLD.format(module=module, line=["it", *arguments])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ
    )
    _, modules = json.loads(done.stderr.splitlines()[-1])
    found: list[str] = modules
    return found


@pytest.mark.parametrize("module", ["daos", "dmg", "server", "agent"])
@pytest.mark.parametrize("line", ["version", "--help"])
def test_a_version_is_told_without_what_is_heavy(module: str, line: str) -> None:
    found = imported(module, line)
    assert [name for name in HEAVY if name in found] == []
    assert len(found) < 110, len(found)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("dmg", "pool --help"),
        ("dmg", "pool create --help"),
        ("dmg", "storage query --help"),
        ("dmg", "system query --help"),
        ("dmg", "server --help"),
        ("daos", "pool --help"),
        ("daos", "container --help"),
        ("daos", "container get-prop --help"),
        ("daos", "container create --help"),
        ("daos", "filesystem get-attr --help"),
        ("daos", "object query --help"),
        ("daos", "system --help"),
        ("server", "network --help"),
    ],
)
def test_help_is_told_without_what_is_heavy(module: str, line: str) -> None:
    found = imported(module, *line.split())
    assert [name for name in HEAVY if name in found] == []
    assert len(found) < 120, len(found)


@pytest.mark.parametrize(
    ("module", "line", "without", "most"),
    [
        ("dmg", "pool list", ("yaml", "rich", "daos.client.client", "daos.engine"), 245),
        ("daos", "pool list", ("grpc", "yaml", "rich", "daos.client.array", "daos.vos"), 290),
        ("daos", "system query", ("grpc", "yaml", "rich", "daos.client.client"), 220),
        ("daos", "container query p c", ("grpc", "yaml", "rich", "daos.vos", "daos.engine"), 295),
    ],
)
def test_a_command_loads_what_it_works_with(
    module: str, line: str, without: tuple[str, ...], most: int, tmp_path: Path
) -> None:
    """Up to its first request, which nobody hears."""
    environ = {"HOME": str(tmp_path), "DAOS_SOCKET_DIR": str(tmp_path)}
    found = imported(module, *line.split(), environ=environ)
    assert [name for name in without if name in found] == []
    assert "asyncio" in found
    assert len(found) < most, len(found)
