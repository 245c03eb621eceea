"""Other stores, each driven as `suites.rivals` says: by clients that make one write at a time.

What is not installed is None, and the suite leaves its row out.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import lmdb

_MAP_BYTES: Final = 2 << 30
_FILE_BYTES: Final = 256 << 20
_START_S: Final = 10.0


def lmdb_rate(place: Path, clients: int, count: int, value: bytes) -> float | None:
    """LMDB in this process: a write transaction, committed and synced, for each put."""
    with lmdb.open(str(place), map_size=_MAP_BYTES) as env:

        def put(key: bytes) -> None:
            with env.begin(write=True) as txn:
                txn.put(key, value)

        return _in_threads(clients, count, put)


def rocksdb_rate(place: Path, clients: int, count: int, value: bytes) -> float | None:
    """RocksDB in this process, by rocksdict: `WriteOptions.sync` for each put."""
    if importlib.util.find_spec("rocksdict") is None:
        return None
    rocksdict = importlib.import_module("rocksdict")  # a type checker need not have it
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    store = rocksdict.Rdict(str(place / "rocksdb"), options)
    synced = rocksdict.WriteOptions()
    synced.sync = True
    try:
        return _in_threads(clients, count, lambda key: store.put(key, value, synced))
    finally:
        store.close()


def _in_threads(clients: int, count: int, put: Callable[[bytes], None]) -> float:
    """Puts a second by as many threads, each waiting for its own."""
    each = max(1, count // clients)

    def work(client: int) -> None:
        for index in range(each):
            put(b"%02d-%08d" % (client, index))

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return each * clients / (time.perf_counter() - began)


def redis_rate(place: Path, clients: int, count: int, value: bytes) -> float | None:
    """Redis in a process of its own, over a Unix socket, `appendfsync always`."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    path = place / "redis.socket"
    command = [
        *(program, "--port", "0", "--unixsocket", str(path), "--dir", str(place), "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "always"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        began = time.monotonic()
        while not path.exists() and time.monotonic() < began + _START_S:  # it says nothing else
            time.sleep(0.01)
        return asyncio.run(_redis_rate(path, clients, count, value))
    finally:
        process.terminate()
        process.wait()


async def _redis_rate(path: Path, clients: int, count: int, value: bytes) -> float:
    each = max(1, count // clients)
    connections = [await asyncio.open_unix_connection(str(path)) for _ in range(clients)]

    async def work(client: int) -> None:
        reader, writer = connections[client]
        for index in range(each):
            key = b"%02d-%08d" % (client, index)
            size = b"$%d\r\n" % len(value)
            writer.write(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n%b%b\r\n" % (len(key), key, size, value))
            answer = await reader.readline()
            assert answer == b"+OK\r\n", answer

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for client in range(clients):
            group.create_task(work(client))
    seconds = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    return each * clients / seconds


def fio_rate(place: Path, clients: int, block: int, *, seconds: int = 2) -> float | None:
    """Writes a second by fio: as many jobs, each block by itself and flushed, on one file."""
    program = shutil.which("fio")
    if program is None:
        return None
    command = [
        *(program, "--name=bench", f"--filename={place / 'fio'}", f"--size={_FILE_BYTES}"),
        *("--rw=randwrite", f"--bs={block}", "--direct=1", "--ioengine=psync", "--fdatasync=1"),
        *(f"--numjobs={clients}", "--thread", "--group_reporting"),
        *("--time_based", f"--runtime={seconds}", "--output-format=json"),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return None
    return float(json.loads(done.stdout)["jobs"][0]["write"]["iops"])
