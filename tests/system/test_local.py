"""`daos.local` in real directories, with real threads, processes and files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import daos
import daos.aio
from daos.base.errors import DER, DaosError

POOL = "128MiB"


def code_of(call: Callable[[], object]) -> str:
    try:
        call()
    except DaosError as error:
        return error.code.name
    return "SUCCESS"


def test_what_is_put_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with daos.local(tmp_path / "d", targets=2) as system:
        system.admin.pool_create("tank", POOL)
        with system.connect() as client, client.pool("tank") as pool:
            container = pool.create_container("c1")
            kv = container.kv()
            oid = kv.oid
            kv["small"] = b"value"
            kv["large"] = bytes(range(256)) * 4096
    with daos.local(tmp_path / "d") as system, system.connect() as client:
        kv = client.pool("tank").container("c1").kv(oid)
        assert kv["small"] == b"value"
        assert kv["large"] == bytes(range(256)) * 4096
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["devices", "live", "lock"]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("an empty path", {"path": ""}),
        ("targets must be 1 to 64, not '4'", {"targets": "4"}),
        ("timeout must be a positive number", {"timeout": -1}),
    ],
)
def test_arguments_are_checked_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, options: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(daos.InvalidError, match=words):
        daos.local(**{"path": "d", **options})
    assert list(tmp_path.iterdir()) == []


def test_a_full_pool_can_be_emptied(tmp_path: Path) -> None:
    with daos.local(tmp_path / "d", targets=1) as system:
        system.admin.pool_create("tank", "32MiB", props={"reclaim": "disabled"})
        with system.connect() as client, client.pool("tank") as pool:
            container = pool.create_container("c1", props={"cksum": "crc32"})
            kv = container.kv()
            keys: list[str] = []
            for size in (200_000, 10):
                with pytest.raises(daos.NoSpaceError, match="the shard is full"):  # noqa: PT012
                    while True:
                        kv[f"{len(keys)}"] = bytes(size)
                        keys.append(f"{len(keys)}")
            for key in keys[:100]:
                del kv[key]
            container.aggregate()
            kv["again"] = bytes(10 * 200_000)
    with daos.local(tmp_path / "d") as system, system.connect() as client:
        container = client.pool("tank").container("c1")
        assert len(container.kv(kv.oid)) == len(keys) - 100 + 1


def test_a_temporary_system_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with daos.local() as system:
        assert system.path.parent == tmp_path
        assert system.path.is_dir()
        system.admin.pool_create("tank", POOL)
    assert list(tmp_path.iterdir()) == []
    system = daos.local()
    del system  # forgotten, not closed
    import gc

    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_system_in_a_callers_loop_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def run() -> None:
        async with daos.aio.local() as system:
            await system.admin.pool_create("tank", POOL)
            async with await system.connect() as client, client.pool("tank") as pool:
                assert (await pool.query()).label == "tank"

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
    del_me = daos.aio.local()
    del del_me
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the system at `path` open until its input ends."""
    script = (
        "import sys, daos\n"
        "with daos.local(sys.argv[1], targets=1) as system:\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_process_is_told_who_has_it(tmp_path: Path) -> None:
    with another_process(tmp_path) as process:
        with pytest.raises(daos.DaosError, match=rf"in use by process {process.pid};") as caught:
            daos.local(tmp_path)
        assert caught.value.code is DER.BUSY
        process.send_signal(signal.SIGKILL)
        process.wait()
    with daos.local(tmp_path, targets=1) as system:  # the lock goes with the process
        assert system.admin.pool_list() == []


def test_a_second_system_of_this_process_is_refused_too(tmp_path: Path) -> None:
    with daos.local(tmp_path, targets=1):
        with pytest.raises(daos.DaosError, match=f"process {os.getpid()}") as caught:
            daos.local(tmp_path)
        assert caught.value.code is DER.BUSY


def test_a_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(daos.DaosError, match="file") as caught:
            daos.local(path)
        assert caught.value.code is DER.INVAL
    assert (tmp_path / "file").read_text() == "mine"


def test_a_path_that_cannot_be_made() -> None:
    path = "/proc/sys/kernel/daos"
    with pytest.raises(daos.DaosError, match="can't use") as caught:
        daos.local(path)
    assert caught.value.code in {DER.NO_PERM, DER.INVAL}


def test_an_unwritable_directory(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere; needs an ordinary user")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="can't use"):
        daos.local(tmp_path)


def test_another_number_of_targets(tmp_path: Path) -> None:
    daos.local(tmp_path, targets=3).close()
    with pytest.raises(daos.DaosError, match="3 targets for life, 2 were asked for"):
        daos.local(tmp_path, targets=2)
    with daos.local(tmp_path) as system:
        assert system.admin.pool_list() == []
    assert code_of(lambda: daos.local(tmp_path, targets=0)) == "INVAL"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """128 MiB of their own."""
    if os.getuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("this machine may not mount a tmpfs")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    with daos.local(small_disk / "d", targets=1) as system:
        with pytest.raises(daos.NoSpaceError):
            system.admin.pool_create("tank", "1GiB")
        assert system.admin.pool_list() == []
        assert [path.name for path in (small_disk / "d" / "devices").iterdir()] == ["mgmt"]
        (small_disk / "ballast").write_bytes(bytes(16 << 20))
        with pytest.raises(daos.NoSpaceError):
            system.admin.pool_create("tank", "16MiB")
        (small_disk / "ballast").unlink()
    (small_disk / "ballast").write_bytes(bytes(90 << 20))
    with pytest.raises(daos.NoSpaceError):
        daos.local(small_disk / "other", targets=1)


def test_use_after_close(tmp_path: Path) -> None:
    system = daos.local(tmp_path, targets=1)
    system.admin.pool_create("tank", POOL)
    client = system.connect()
    pool = client.pool("tank")
    admin = system.admin
    system.close()
    system.close()
    for call in (
        lambda: system.admin,
        system.connect,
        admin.pool_list,
        lambda: client.pool("tank"),
        pool.query,
    ):
        assert code_of(call) in {"SHUTDOWN", "NO_HDL", "CANCELED"}
    assert "closed" in repr(system)
    client.close()


def test_close_ends_the_calls_of_other_threads_within_a_second(tmp_path: Path) -> None:
    system = daos.local(tmp_path, targets=2)
    system.admin.pool_create("tank", POOL)
    container = system.connect().pool("tank").create_container("c1")
    kv = container.kv()
    kv["x"] = b"0"
    ends: list[BaseException | None] = []
    begun = threading.Barrier(5)

    def work(number: int) -> None:
        begun.wait()
        try:
            for i in range(1 << 30):
                kv[f"{number}-{i}"] = bytes(5000)
        except DaosError as error:
            ends.append(error)
        except Exception as error:  # told below
            ends.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    while not kv.size("3-5"):
        pass
    at = time.monotonic()
    system.close()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - at < 1.0 + 1.0  # a second, and as much for a busy machine
    assert len(ends) == 4
    codes = {getattr(error, "code", error) for error in ends}
    assert codes <= {DER.CANCELED, DER.SHUTDOWN, DER.NO_HDL}, codes


CHILD = """
import os, sys, daos
system = daos.local(sys.argv[1] if len(sys.argv) > 1 else None, targets=1)
system.admin.pool_create("tank", "64MiB")
client = system.connect()
kv = client.pool("tank").create_container("c1").kv()
kv["before"] = b"fork"
child = os.fork()
if child == 0:
    codes = []
    calls = (lambda: kv["before"], lambda: system.admin.pool_list(), system.connect, client.close)
    for call in calls:
        try:
            call()
            codes.append("SUCCESS")
        except daos.DaosError as error:
            codes.append(error.code.name)
            text = str(error)
    print(codes[:3], "spawn" in text or "child" in text, flush=True)
    system.close()
    sys.exit(0)  # with all that runs at the end of a process
_, status = os.waitpid(child, 0)
assert status == 0, status
assert system.path.is_dir()
kv["after"] = b"fork"
assert kv["before"] == kv["after"] == b"fork"
try:
    daos.local(system.path)
except daos.DaosError as error:
    print(error.code.name, flush=True)
system.close()
print("parent", system.path.exists(), flush=True)
"""


@pytest.mark.parametrize("temporary", [False, True])
def test_a_forked_child_cannot_use_it_and_does_no_harm(tmp_path: Path, *, temporary: bool) -> None:
    arguments = [] if temporary else [str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    child, busy, parent = done.stdout.splitlines()
    assert child == "['NOTSUPPORTED', 'NOTSUPPORTED', 'NOTSUPPORTED'] True"
    assert busy == "BUSY"
    assert parent == f"parent {not temporary}"


def test_a_forked_child_may_open_another(tmp_path: Path) -> None:
    """And one that outlives its parent keeps nothing locked."""
    script = (
        "import os, sys, daos\n"
        "system = daos.local(sys.argv[1] + '/a', targets=1)\n"
        "if os.fork() == 0:\n"
        "    with daos.local(sys.argv[1] + '/b', targets=1) as mine:\n"
        "        print(mine.admin.pool_list(), flush=True)\n"
        "        os.close(1)\n"
        "        sys.stdin.read()\n"
        "    os._exit(0)\n"
        "system.close()\n"
    )
    read_end, write_end = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=read_end,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "[]\n")
        daos.local(tmp_path / "a").close()
        assert code_of(lambda: daos.local(tmp_path / "b")) == "BUSY"
    finally:
        os.close(read_end)
        os.close(write_end)


def test_killed_and_opened_again(tmp_path: Path) -> None:
    """What was acknowledged before SIGKILL is there."""
    script = (
        "import sys, daos\n"
        "system = daos.local(sys.argv[1], targets=2)\n"
        "system.admin.pool_create('tank', '64MiB')\n"
        "container = system.connect().pool('tank').create_container('c1')\n"
        "kv = container.kv()\n"
        "print(kv.oid, flush=True)\n"
        "for i in range(1 << 30):\n"
        "    kv[str(i)] = bytes([i % 256]) * 5000\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    oid = daos.ObjectId.parse(process.stdout.readline().strip())
    acknowledged = -1
    while acknowledged < 40:
        acknowledged = int(process.stdout.readline())
    process.kill()
    rest, _ = process.communicate()
    acknowledged = max([acknowledged, *map(int, rest.split())])
    with daos.local(tmp_path) as system, system.connect() as client:
        kv = client.pool("tank").container("c1", "r").kv(oid)
        for i in range(acknowledged + 1):
            assert kv[str(i)] == bytes([i % 256]) * 5000
