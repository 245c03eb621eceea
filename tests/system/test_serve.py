"""A system in a process of its own: how it starts, ends, and is reached by others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import daos
from daos.base.errors import DER, DaosError, InvalidError, ShutdownError
from daos.embedded.remote import async_connect, connect
from daos.testing.kits.transport_peers import loopback_hosts
from daos.testing.served import Served

POOL = "64MiB"
_hosts = loopback_hosts()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path, "--targets", "2", tcp=f"{next(_hosts)}:31416") as served:
        yield served


def failed(tmp_path: Path, *options: str, path: str = "d") -> tuple[int, str]:
    """Exit status and last line of a server that can't start."""
    command = [sys.executable, "-m", "daos.embedded.serve", "--path", str(tmp_path / path)]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()[-1]


def test_two_processes_by_two_transports(tmp_path: Path) -> None:
    tcp = f"{next(_hosts)}:31416"
    with Served(tmp_path, "--targets", "2", "--sm", str(tmp_path / "s"), tcp=tcp) as served:
        assert list(served.addresses) == [f"sm:{tmp_path}/s", f"tcp:{tcp}"]
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700
        by_sm, by_tcp = (connect(address) for address in served.addresses)
        with by_sm, by_tcp:
            by_sm.admin.pool_create("tank", POOL)
            with by_sm.connect() as one, by_tcp.connect() as two:
                container = one.pool("tank").create_container("c1")
                kv = container.kv()
                kv["key"] = b"value"
                assert two.pool("tank").container("c1").kv(kv.oid)["key"] == b"value"
            with pytest.raises(DaosError) as caught:
                by_tcp.connect().pool("none")
            assert caught.value.code is DER.NONEXIST
    assert list((tmp_path / "s").iterdir()) == []


def test_what_was_written_outlives_a_kill_and_so_does_its_client(tmp_path: Path) -> None:
    served = Served(tmp_path, "--targets", "2")
    served.start()
    with connect(served.address) as system:
        system.admin.pool_create("tank", POOL)
        kv = system.connect().pool("tank").create_container("c1").kv()
        kv["key"] = b"value"
        served.kill()
        with pytest.raises(DaosError) as caught:
            kv.put("key", b"other", timeout=0.1)
        assert caught.value.code in (DER.UNREACH, DER.TIMEDOUT, DER.TX_UNCERTAIN)
        with served, ThreadPoolExecutor() as pool:  # over the sockets that were left behind
            waiting = pool.submit(kv.put, "later", b"value")
            assert kv["key"] == b"value"
            waiting.result()
            assert kv["later"] == b"value"


def test_inserts_go_on_through_kills(tmp_path: Path) -> None:
    """Every insert is of a key of its own: one that hears of an existing key was executed twice."""
    served = Served(tmp_path, "--targets", "2")
    served.start()
    stop, done = threading.Event(), [0] * 4
    with connect(served.address) as system:
        system.admin.pool_create("tank", POOL)
        container = system.connect().pool("tank").create_container("c1")
        obj = container.object(container.new_oid(oclass="SX"))

        def insert(worker: int) -> None:
            while not stop.is_set():
                dkey = b"%d-%d" % (worker, done[worker])
                obj.update(dkey, b"a", dkey, cond=daos.Cond.DKEY_INSERT)
                done[worker] += 1

        with ThreadPoolExecutor() as pool:
            workers = [pool.submit(insert, worker) for worker in range(len(done))]
            for _ in range(3):
                wanted = sum(done) + 40
                while sum(done) < wanted and not any(worker.done() for worker in workers):
                    stop.wait(0.01)
                served.kill()
                served.start()
            stop.set()
            for worker in workers:
                worker.result()
        assert sorted(obj.dkeys()) == sorted(
            b"%d-%d" % (worker, number)
            for worker, count in enumerate(done)
            for number in range(count)
        )
    served.let_go()
    served.kill()


def test_a_stopped_server_does_not_write_to_memory_of_calls_that_are_over(tmp_path: Path) -> None:
    with (
        Served(tmp_path, "--targets", "2") as served,
        connect(served.address) as system,
        system.connect() as client,
        system.connect() as other,
    ):
        assert served.process is not None
        system.admin.pool_create("tank", "1GiB")
        array = client.pool("tank").create_container("c1").array()
        size = 24 << 20
        array.write(0, b"stored" * (size // 6))
        elsewhere = other.pool("tank").container("c1").array(array.oid)
        for delay_s in (0.003, 0.01):
            buffer = client.buffer(size)
            with ThreadPoolExecutor() as pool:
                reading = pool.submit(array.read, 0, size, into=buffer, timeout=0.3)
                threading.Event().wait(delay_s)
                served.process.send_signal(signal.SIGSTOP)
                with pytest.raises(daos.DeadlineError):
                    reading.result()
            buffer[:] = b"ours!!" * (size // 6)
            served.process.send_signal(signal.SIGCONT)
            assert elsewhere.read(0, 6) == b"stored"
            assert buffer[:] == b"ours!!" * (size // 6)
            array.write(0, buffer)
            assert elsewhere.read(0, size) == buffer[:]
            array.write(0, b"stored" * (size // 6))
            assert array.read(0, size, into=buffer) == size
            assert buffer[:6] == b"stored"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_in_order(served: Served, number: signal.Signals) -> None:
    assert served.process is not None
    with connect(served.address) as system:
        system.admin.pool_create("tank", POOL)
        served.process.send_signal(number)
        assert served.process.wait(60) == 0


def test_it_ends_with_its_parent(served: Served) -> None:
    served.let_go()
    assert served.process is not None
    assert served.process.wait(60) == 0


def test_one_directory_has_one_process(served: Served, tmp_path: Path) -> None:
    assert served.process is not None
    status, text = failed(tmp_path, "--sm", str(tmp_path / "other"), path="system")
    assert status == 1
    assert f"in use by process {served.process.pid}" in text
    with pytest.raises(DaosError, match="in use by process"):
        daos.local(tmp_path / "system")


def test_an_address_in_use(tmp_path: Path) -> None:
    host = next(_hosts)
    with socket.socket() as other:
        other.bind((host, 31418))  # of the second tag
        other.listen()
        status, text = failed(tmp_path, "--targets", "1", "--tcp", f"{host}:31417")
    assert status == 1
    assert f"DER_EXIST(-1004): can't listen at {host}:31418 for rank 0 tag 1" in text
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["lock"]  # no system was made


def in_shell(tmp_path: Path, redirections: str, *options: str) -> list[str]:
    """The command line of a server whose standard streams are redirected."""
    command = [sys.executable, "-m", "daos.embedded.serve", "--path", f"{tmp_path}/d"]
    command += ["--sm", f"{tmp_path}/s", "--targets", "1", *options]
    return ["sh", "-c", f"exec {shlex.join(command)} {redirections}"]


def test_without_standard_streams_it_serves(tmp_path: Path) -> None:
    """And nothing that anybody prints gets into what it opens."""
    process = subprocess.Popen(in_shell(tmp_path, "<&- >&- 2>&-"))
    try:
        with connect(f"sm:{tmp_path}/s") as system:
            while process.poll() is None:
                with contextlib.suppress(DaosError):  # not yet
                    system.admin.pool_create("tank", POOL)
                    break
                threading.Event().wait(0.05)
        opened = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)]
        assert opened == ["/dev/null"] * 3
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    with daos.local(tmp_path / "d") as system:
        assert [pool.label for pool in system.admin.pool_list()] == ["tank"]


@pytest.mark.parametrize(
    ("redirections", "options", "text"),
    [
        (">/dev/full", [], "can't say on standard output that it is ready: No space left"),
        ("<&-", ["--until-eof"], "--until-eof wants a pipe as standard input"),
        ("</dev/null", ["--until-eof"], "--until-eof wants a pipe as standard input"),
    ],
)
def test_standard_streams_that_are_no_use(
    tmp_path: Path, redirections: str, options: list[str], text: str
) -> None:
    command = in_shell(tmp_path, redirections, *options)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert text in line


def test_nobody_reads_that_it_is_ready(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "daos.embedded.serve", "--path", f"{tmp_path}/d"]
    with subprocess.Popen(
        [*command, "--sm", f"{tmp_path}/s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        (line,) = process.stderr.read().splitlines()
        assert b"can't say on standard output that it is ready: Broken pipe" in line
        assert process.wait(60) == 1


@contextlib.contextmanager
def disk(directory: Path, options: str) -> Iterator[None]:
    """A file system of its own."""
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def put_many(kv: daos.KeyValue[str], written: list[str]) -> None:
    for number in range(10_000):
        kv.put(f"{number}", b"v" * 200)
        written.append(f"{number}")


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Devices have their space from the beginning; the live trees have not."""
    with disk(tmp_path / "disk", "size=260m"):
        served = Served(tmp_path / "disk", "--targets", "1")
        served.start()
        with connect(served.address) as system:
            system.admin.pool_create("tank", POOL)
            with pytest.raises(daos.NoSpaceError):
                system.admin.pool_create("more", "1GiB")
            kv = system.connect().pool("tank").create_container("c1").kv()
            filler = tmp_path / "disk" / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(1 << 16)):
                    pass
            written = list[str]()
            with pytest.raises(daos.NoSpaceError):
                put_many(kv, written)
            assert written
            for _ in range(2):
                with pytest.raises(daos.NoSpaceError):
                    kv.put("one more", b"v")
            assert kv[written[-1]] == b"v" * 200
        assert served.stop()[0] == 1
        filler.unlink()
        with served, connect(served.address) as system:
            again = system.connect().pool("tank").container("c1").kv(kv.oid)
            assert all(again[key] == b"v" * 200 for key in written)
            again["one more"] = b"v"


_IN_MID_BULK = """
import sys, daos
from daos.embedded.remote import connect
client = connect(sys.argv[1]).connect()
array = client.pool("tank").container("c1").array(daos.ObjectId(*map(int, sys.argv[2:])))
buffer = client.buffer(32 << 20)
print("go", flush=True)
while True:
    array.write(0, buffer)
    array.read(0, len(buffer), into=buffer)
"""


@pytest.mark.parametrize("kind", ["sm", "tcp"])
def test_clients_that_are_killed_in_mid_bulk(tmp_path: Path, kind: str) -> None:
    tcp = f"{next(_hosts)}:31416" if kind == "tcp" else None
    with Served(tmp_path, "--targets", "2", tcp=tcp) as served, connect(served.address) as system:
        system.admin.pool_create("tank", "512MiB")
        array = system.connect().pool("tank").create_container("c1").array()
        oid = [str(array.oid.hi), str(array.oid.lo)]
        for delay_s in (0.01, 0.1):
            command = [sys.executable, "-c", _IN_MID_BULK, served.address, *oid]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"go\n"
                threading.Event().wait(delay_s)
                process.kill()
        array.write(0, b"ours" * (1 << 20))
        assert array.read(0, 4 << 20) == b"ours" * (1 << 20)


def test_a_disk_that_is_read_only(tmp_path: Path) -> None:
    with disk(tmp_path / "d", "ro,size=64k"):
        status, line = failed(tmp_path, "--sm", str(tmp_path / "s"))
        assert status == 1
        assert "DER_NO_PERM(-1001): can't use" in line
        assert "Read-only file system" in line
        with pytest.raises(daos.AccessError, match="Read-only"):
            daos.local(tmp_path / "d")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "say where to serve"),
        (["--tcp", "host"], "is no port"),
        (["--sm", "s", "--targets", "0"], "targets must be 1 to 64"),
        (["--sm", "s", "--targets", "few"], "invalid int value"),
        (["--sm", "s", "--loop", "twisted"], "invalid choice"),
        (["--sm", "s", "--memory", "much"], "much"),
        (["--sm", "s", "--memory", "3MB"], "expected whole MiB"),
        (["--fast"], "unrecognized arguments"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: list[str], text: str) -> None:
    status, line = failed(tmp_path, *options)
    assert status == 2
    assert text in line
    assert not (tmp_path / "d").exists()


def test_what_cannot_be_served(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert failed(tmp_path, "--sm", str(tmp_path / "s"), path="file") == (
        1,
        f"python -m daos.embedded.serve: DER_INVAL(-1003): {tmp_path}/file is not a directory; "
        "a local system keeps its files in one",
    )
    for options, expected in (
        (["--sm", str(tmp_path / "file")], "can't keep sockets in"),
        (["--sm", str(tmp_path / ("x" * 120))], "at most 107 bytes"),
        (["--tcp", f"{'x' * 70}.invalid:5"], "is not known"),
        (["--sm", str(tmp_path / "s"), "--until-eof"], "wants a pipe"),
    ):
        status, text = failed(tmp_path, "--targets", "1", *options)
        assert status == 1
        assert expected in text


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="an address is"):
        connect("nowhere")
    with pytest.raises(DaosError, match="not known"):
        connect(f"tcp:{'x' * 70}.invalid:5")
    with connect(f"sm:{tmp_path}", timeout=5) as system:
        assert repr(system) == f"<system at sm:{tmp_path}, open>"
        with pytest.raises(DaosError) as caught:
            system.admin.pool_list()
        assert caught.value.code is DER.UNREACH
        assert f"{tmp_path}/0.0: No such file or directory" in str(caught.value)
    system.close()
    assert repr(system) == f"<system at sm:{tmp_path}, closed>"
    with pytest.raises(ShutdownError):
        system.connect()


def test_the_asynchronous_face(served: Served) -> None:
    async def main() -> None:
        system = async_connect(served.address)
        async with system:
            await system.admin.pool_create("tank", POOL)
            client = await system.connect()
            async with client.pool("tank") as pool, pool.create_container("c1") as container:
                kv = await container.kv()
                await kv.put("key", b"value")
                assert await kv.get("key") == b"value"
        with pytest.raises(ShutdownError, match="is closed"):
            await system.connect()
        await system.close()

    asyncio.run(main())
