"""Commands that only look import neither gRPC nor a loop: they are to be there at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("asyncio", "grpc", "lmdb")


@pytest.mark.parametrize("module", ["daos", "dmg", "server", "agent"])
def test_a_version_is_told_without_what_is_heavy(module: str) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['it', 'version']\n"
        "try:\n"
        f"    runpy.run_module('daos.cli.{module}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        f"    print(end.code, *[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0"
