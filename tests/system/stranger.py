"""Run a module of ours as uid 65534 sees the world, were every directory and socket open to it.

    python -m tests.system.stranger daos.cli.dmg pool list

The effective user, which the kernel tells who is called, is a stranger; files are opened as the
user that runs the tests, so that modes keep nobody out. For root only.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import sys

NOBODY = 65534


def become() -> None:
    """Be the stranger from now on."""
    owner = os.getuid()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    ctypes.CDLL(None).setfsuid(owner)


if __name__ == "__main__":
    become()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
