"""Files in a container beside files of this host: trees copied, data of one file, names.

    copy    a tree of small files, by `daos.dfs.copy` with 1, 4 and 16 workers; beside it `cp -r`
    data    4 KiB and 1 MiB through one open file, in order and at random, one and 16 at once
    names   create, stat, list and unlink, 16 at once

The system is a process of its own with four targets, reached over sm; both share the CPUs. The
limit is the file system that the run's directory is on, which keeps what it is given in memory;
what is written here is on disk before the next line is read, so beside it stands the same with
O_DSYNC. tmpfs is /dev/shm.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from bench.limits import KiB, MiB
from bench.load import run_awaited
from bench.public import open_files
from bench.run import Run
from daos.dfs.copy import copy
from daos.dfs.end_local import LocalEnd
from daos.dfs.end_stored import StoredEnd
from daos.dfs.mount import Mount
from daos.dfs.node import File
from daos.dfs.tandem import route

_WORKERS: Final = (1, 4, 16)
_DIRECTORIES: Final = 20
_FILES: Final = 2000
_FILE_BYTES: Final = 2 * KiB
_DEPTHS: Final = (1, 16)
_DATA: Final = {4 * KiB: 2048, MiB: 128}  # operations by size
_NAMES: Final = 1000
_AT_ONCE: Final = 16
_SHM: Final = "/dev/shm"

Rates = dict[str, float]


def run(run: Run) -> None:
    """Without budgets: what is beside does less, and another process shares the CPUs."""
    ours: Rates = {}
    plain: dict[str, Rates] = {}
    for _ in range(run.rounds):
        place = run.new_directory()
        tree = _tree(place / "tree", run.scaled(_FILES))
        _best(ours, asyncio.run(_ours(run, place, tree)))
        for name, top in {"disk": str(place), "tmpfs": _SHM}.items():
            if os.path.isdir(top):
                with _below(top) as local:
                    _best(plain.setdefault(name, {}), _local(run, local, tree))
        run.clear()
    for what, rate in ours.items():
        of = what.split(",")[0].replace(" in", "").replace(" out", "") if "copy" in what else ""
        key = of or what.rsplit(", ", 1)[0]
        limit = plain["disk"].get(key)
        beside = [
            (rates[key + more], f"{name}{more}")
            for name, rates in plain.items()
            for more in ("", " O_DSYNC")
            if key + more in rates and (name, more) != ("disk", "")
        ]
        unit = "MiB/s" if "1 MiB" in what else "/s"
        named = (limit, "disk, cp -r" if of else "disk") if limit is not None else None
        run.row(what, rate, unit, limit=named, beside=beside)


def _best(into: Rates, rates: Rates) -> None:
    for what, rate in rates.items():
        into[what] = max(into.get(what, 0.0), rate)


def _tree(top: Path, count: int) -> Path:
    data = random.Random(1).randbytes(_FILE_BYTES)
    for number in range(count):
        directory = top / f"d{number % _DIRECTORIES}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(data)
    return top


@contextmanager
def _below(top: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=top, prefix="bench-") as name:
        yield Path(name)


async def _ours(run: Run, place: Path, tree: Path) -> Rates:
    async with open_files(place / "store") as mount:
        rates = await _copies(mount, place, tree)
        for size, count in _DATA.items():
            rates |= await _data(mount, size, run.scaled(count))
        return rates | await _names(mount, run.scaled(_NAMES))


async def _copies(mount: Mount, place: Path, tree: Path) -> Rates:
    rates, local, stored = {}, LocalEnd(), StoredEnd(mount)
    for workers in _WORKERS:
        way = await route(local, str(tree), stored, f"/in{workers}")
        begin = time.perf_counter()
        stats = await copy(way, workers=workers)
        rates[f"copy in, files, {workers} workers"] = stats.files / (time.perf_counter() - begin)
        out = place / "out"
        way_out = await route(stored, f"/in{workers}", local, str(out))
        begin = time.perf_counter()
        await copy(way_out, workers=workers)
        rates[f"copy out, files, {workers} workers"] = stats.files / (time.perf_counter() - begin)
        shutil.rmtree(out)
    return rates


async def _data(mount: Mount, size: int, count: int) -> Rates:
    rates: Rates = {}
    data, order = bytes(random.Random(2).randbytes(size)), list(range(count))
    random.Random(3).shuffle(order)
    for depth in _DEPTHS:
        name = f"data{size}-{depth}"
        file = await mount.open_file(mount.root, name, os.O_CREAT | os.O_RDWR)

        write, read = partial(_write, file, data), partial(_read, file, size)
        for what, work, where in (
            ("write", write, range(count)),
            ("random write", write, order),
            ("read", read, range(count)),
            ("random read", read, order),
        ):
            seconds = await run_awaited(count, depth, partial(work, where))
            rates[f"{_label(size)} {what}, {depth} at once"] = _rate(size, count, seconds)
        await mount.remove(mount.root, name)
    return rates


async def _write(file: File, data: bytes, where: Sequence[int], index: int) -> None:
    await file.write(where[index] * len(data), data)


async def _read(file: File, size: int, where: Sequence[int], index: int) -> None:
    await file.read(where[index] * size, size)


async def _names(mount: Mount, count: int) -> Rates:
    directory = await mount.mkdir(mount.root, "names")

    async def create(index: int) -> None:
        await mount.open_file(directory, f"f{index}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)

    async def stat(index: int) -> None:
        await mount.stat(directory, f"f{index}")

    async def unlink(index: int) -> None:
        await mount.remove(directory, f"f{index}")

    rates = {}
    for what, work in (("create", create), ("stat", stat)):
        rates[what] = count / await run_awaited(count, _AT_ONCE, work)
    begin = time.perf_counter()
    listed = len([name async for name in mount.readdir(directory)])
    rates["list, names"] = listed / (time.perf_counter() - begin)
    rates["unlink"] = count / await run_awaited(count, _AT_ONCE, unlink)
    return {f"{what}, {_AT_ONCE} at once": rate for what, rate in rates.items()}


def _local(run: Run, place: Path, tree: Path) -> Rates:
    count = run.scaled(_FILES)
    begin = time.perf_counter()
    subprocess.run(["cp", "-r", str(tree), str(place / "copied")], check=True)
    rates = {"copy": count / (time.perf_counter() - begin)}
    for size, operations in _DATA.items():
        for more, flags in (("", 0), (" O_DSYNC", os.O_DSYNC)):
            rates |= _local_data(place, size, run.scaled(operations), flags, more)
    names, top = run.scaled(_NAMES), place / "names"
    top.mkdir()

    def each(work: Callable[[str], object]) -> float:
        begin = time.perf_counter()
        for index in range(names):
            work(f"{top}/f{index}")
        return names / (time.perf_counter() - begin)

    rates["create"] = each(lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL)))
    rates["stat"] = each(os.stat)
    begin = time.perf_counter()
    rates["list, names"] = len(os.listdir(top)) / (time.perf_counter() - begin)
    rates["unlink"] = each(os.unlink)
    return rates


def _local_data(place: Path, size: int, count: int, flags: int, more: str) -> Rates:
    rates, data, order = {}, random.Random(2).randbytes(size), list(range(count))
    shuffled = random.Random(3).sample(order, count)
    fd = os.open(place / "data", os.O_CREAT | os.O_RDWR | flags)
    try:
        for what, where in (
            ("write", order),
            ("random write", shuffled),
            ("read", order),
            ("random read", shuffled),
        ):
            begin = time.perf_counter()
            for index in where:
                if "write" in what:
                    os.pwrite(fd, data, index * size)
                else:
                    os.pread(fd, size, index * size)
            seconds = time.perf_counter() - begin
            if "write" in what or not more:
                rates[f"{_label(size)} {what}{more}"] = _rate(size, count, seconds)
    finally:
        os.close(fd)
    return rates


def _label(size: int) -> str:
    return f"{size // MiB} MiB" if size >= MiB else f"{size // KiB} KiB"


def _rate(size: int, count: int, seconds: float) -> float:
    return count / seconds if size < MiB else count * size / MiB / seconds
