"""A file system in the child of a fork: it says so, and what the parent had buffered stays its."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import os, sys, daos
system = daos.local(targets=1)
system.admin.pool_create("tank", "64MiB")
cont = system.connect().pool("tank").create_container("c1", type="POSIX")
fs = cont.filesystem()
log = fs.open("/log", "a")
log.write("once\\n")  # in the buffer
child = os.fork()
if child == 0:
    found = []
    for call in (fs.listdir, lambda: fs.open("/log"), lambda: fs.path("/log").exists(), log.flush):
        try:
            found.append(call())
        except daos.NotSupportedError as error:
            found.append("fork" in str(error))
    fs.close()
    print(found, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
log.close()
print(repr(fs.read_text("/log")), flush=True)
system.close()
"""


def test_a_forked_child_writes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[True, True, True, True]", "'once\\n'"]
