"""Clients that make, move, exchange and remove the same few names: no file is lost, none has two.

Each file has a content of its own, and whoever removed or replaced one was told its object. So in
the end the files that were made are, each once, in the tree or among those that somebody was told.
Some runs kill clients in the middle of calls: what these were about to remove may be gone, nothing
else; and some crash a server.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from daos.base.errors import (
    BusyError,
    DeadlineError,
    ExistsError,
    NotFoundError,
    TxUncertainError,
)
from daos.base.ids import ObjectId
from daos.client.client import Client
from daos.dfs import marks
from daos.dfs.errors import NotEmptyError
from daos.dfs.layout import Kind
from daos.dfs.mount import Mount
from daos.dfs.node import Directory, File
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import simulate
from daos.testing.simnet import SimNetwork

SEEDS: Final = range(1, 41)
CLIENTS: Final = 4
CALLS: Final = 12
NAMES: Final = ("a", "b", "c")
KINDS: Final = ("make", "make", "move", "move", "label", "exchange", "remove")
DIRECTORIES: Final = ("one", "two")


@dataclass
class Told:
    """What the clients know."""

    made: dict[ObjectId, bytes] = field(default_factory=dict)
    labels: set[tuple[ObjectId, str]] = field(default_factory=set)
    gone: Counter[ObjectId] = field(default_factory=Counter)
    doubtful: int = 0  # removals whose end nobody knows
    kinds: Counter[str] = field(default_factory=Counter)


class User:
    """One client: a random walk."""

    def __init__(
        self, mount: Mount, dirs: list[Directory], told: Told, seed: int, number: int
    ) -> None:
        self.mount = mount
        self.dirs = dirs
        self.told = told
        self.rng = random.Random(f"{seed} {number}")
        # One of two runs is crowded: everybody wants the same two names.
        self.names = NAMES[:: 1 + seed % 2 * 2]

    async def work(self, *, mortal: bool) -> None:
        for _ in range(CALLS):
            kind = self.rng.choice(KINDS)
            task = asyncio.ensure_future(getattr(self, kind)(mortal=mortal))
            if mortal and self.rng.random() < 0.1:
                await asyncio.wait([task], timeout=self.rng.random() * 0.02)
                task.cancel()
            try:
                await task
                self.told.kinds[kind] += 1
            except (NotFoundError, ExistsError):
                self.told.kinds[f"no {kind}"] += 1
            except (asyncio.CancelledError, TxUncertainError, DeadlineError, BusyError) as error:
                self.told.doubtful += kind == "remove"
                self.told.kinds[type(error).__name__] += 1

    def place(self) -> tuple[Directory, str]:
        return self.rng.choice(self.dirs), self.rng.choice(self.names)

    async def make(self, *, mortal: bool) -> None:
        del mortal
        parent, name = self.place()
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        file = await self.mount.open_file(parent, name, flags)
        data = str(file.oid).encode()
        self.told.made[file.oid] = data
        await file.write(0, data)

    async def label(self, *, mortal: bool) -> None:
        del mortal
        node = await self.mount.lookup_rel(*self.place())
        name = f"user.{len(self.told.labels)}.{self.rng.random()}"
        await node.setxattr(name, b"")
        self.told.labels.add((node.oid, name))

    async def move(self, *, mortal: bool) -> None:
        old = await self.mount.move(*self.place(), *self.place(), replace=not mortal)
        self._gone(old)

    async def exchange(self, *, mortal: bool) -> None:
        del mortal
        await self.mount.exchange(*self.place(), *self.place())

    async def remove(self, *, mortal: bool) -> None:
        del mortal
        self._gone(await self.mount.remove(*self.place()))

    def _gone(self, oid: ObjectId | None) -> None:
        if oid is not None:
            self.told.gone[oid] += 1


async def run(seed: int, live: Path, *, mortal: bool, crash: bool) -> Told:
    rng = random.Random(seed)
    network = SimNetwork(asyncio.get_running_loop(), random.Random(rng.getrandbits(64)))
    cluster = SimCluster(live, rng, network=network)
    await cluster.start()
    try:
        admin = cluster.admin("admin")
        await admin.pool_create("tank", 256 << 20)
        told = Told()
        clients = [cluster.client(f"client{number}")[0] for number in range(CLIENTS)]
        mounts = [await mounted(client, first=not number) for number, client in enumerate(clients)]
        users = []
        for number, mount in enumerate(mounts):
            dirs = [await mount.lookup(f"/{name}") for name in DIRECTORIES]
            inside = [each for each in dirs if isinstance(each, Directory)]
            users.append(User(mount, inside, told, seed, number))
        async with asyncio.TaskGroup() as group:
            for user in users:
                group.create_task(user.work(mortal=mortal))
            if crash:
                group.create_task(crashed(cluster, rng))
        await judge(mounts[0], told, exact=not mortal and not crash)
        return told
    finally:
        await cluster.close()


async def over_a_pit(seed: int, live: Path) -> Counter[str]:
    """Files are moved in and out of a directory that others remove and make, all the time."""
    rng = random.Random(seed)
    network = SimNetwork(asyncio.get_running_loop(), random.Random(rng.getrandbits(64)))
    cluster = SimCluster(live, rng, network=network)
    await cluster.start()
    ends = Counter[str]()

    async def work(mount: Mount, number: int) -> None:
        for _ in range(3 * CALLS):
            kind = rng.choice(("in", "out", "make", "remove", "remove"))
            try:
                pit = None if kind in ("make", "remove") else await mount.lookup("/pit")
                if kind == "make":
                    await mount.mkdir(mount.root, "pit")
                elif pit is None:
                    await mount.remove(mount.root, "pit", Kind.DIRECTORY)
                elif kind == "in":
                    await mount.move(mount.root, f"f{number}", pit, f"f{number}")
                else:
                    await mount.move(pit, f"f{number}", mount.root, f"f{number}")
                ends[kind] += 1
            except (NotFoundError, ExistsError, NotEmptyError) as error:
                ends[f"{kind} {type(error).__name__}"] += 1

    try:
        await cluster.admin("admin").pool_create("tank", 256 << 20)
        clients = [cluster.client(f"client{number}")[0] for number in range(CLIENTS)]
        mounts = [await mounted(client, first=not number) for number, client in enumerate(clients)]
        made = set[ObjectId]()
        for number, mount in enumerate(mounts):
            flags = os.O_CREAT | os.O_RDWR
            made.add((await mount.open_file(mount.root, f"f{number}", flags)).oid)
        async with asyncio.TaskGroup() as group:
            for number, mount in enumerate(mounts):
                group.create_task(work(mount, number))
        there = [seen.oid async for _, seen in mounts[0].readdirplus(mounts[0].root)]
        try:
            pit = await mounts[0].lookup("/pit")
        except NotFoundError:
            pass
        else:
            there += [seen.oid async for _, seen in mounts[0].readdirplus(pit)]
        assert made <= set(there), "a file is lost in a directory that was removed"
        return ends
    finally:
        await cluster.close()


async def crashed(cluster: SimCluster, rng: random.Random) -> None:
    await asyncio.sleep(rng.random() * 0.2)
    host = cluster.hosts[rng.randrange(len(cluster.hosts))]
    host.crash()
    await asyncio.sleep(rng.random())
    await host.start()
    await host.joined()


async def mounted(client: Client, *, first: bool) -> Mount:
    pool = await client.pool("tank")
    if first:
        container = await pool.create_container("files", "POSIX")
    else:
        container = await pool.container("files")
    mount = await Mount.open(container)
    if first:
        for name in DIRECTORIES:
            await mount.mkdir(mount.root, name)
    return mount


async def judge(mount: Mount, told: Told, *, exact: bool) -> None:
    """Every file that was made is there once, or somebody was told that it is gone, once."""
    assert max(told.gone.values(), default=0) <= 1, "one file, told to be gone twice"
    there = Counter[ObjectId]()
    for directory in DIRECTORIES:
        parent = await mount.lookup(f"/{directory}")
        assert isinstance(parent, Directory)
        names = [name async for name in mount.readdir(parent)]
        for name in names:
            with mount._operation(None) as call:
                found = await marks.fetch(parent.at(name.encode()), call)
            if found is None:
                continue  # settling another name has taken it away
            assert not exact or marks.mark_of(found) is None
            # An exchange loses nothing, but somebody may have made one of its names anew.
            assert name in NAMES or name.startswith(".dfs-exchange-")
            # To settle what the dead have left, and to see what there is then.
            try:
                await mount.move(parent, name, parent, f"{name}!", replace=False)
            except NotFoundError:
                continue
            file = await mount.lookup_rel(parent, f"{name}!")
            assert isinstance(file, File)
            there[file.oid] += 1
            data = await file.read(0, 100)
            assert not exact or data == told.made[file.oid]
            labels = {name for oid, name in told.labels if oid == file.oid}
            assert labels <= set(await file.listxattr()), "an attribute is lost"
    assert max(there.values(), default=0) <= 1, "a file with two names"
    assert not there.keys() & told.gone.keys(), "a file that somebody has removed"
    missing = told.made.keys() - there.keys() - told.gone.keys()
    assert len(missing) <= (0 if exact else told.doubtful), f"{len(missing)} files are lost"


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_loses_a_file(tmp_path: Path, seed: int) -> None:
    told = simulate(run(seed, tmp_path, mortal=False, crash=False), seed)
    assert not told.kinds["BusyError"]


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_who_dies_takes_no_file_along(tmp_path: Path, seed: int) -> None:
    simulate(run(seed, tmp_path, mortal=True, crash=False), seed)


def test_a_directory_is_not_removed_over_a_file(tmp_path: Path) -> None:
    ends = Counter[str]()
    seeds = SEEDS[:16]
    for seed in seeds:
        ends += simulate(over_a_pit(seed, tmp_path / str(seed)), seed)
    assert min(ends[kind] for kind in ("in", "out", "make", "remove")) > len(seeds)


@pytest.mark.parametrize("seed", SEEDS[:8])
def test_a_server_that_crashes_takes_no_file_along(tmp_path: Path, seed: int) -> None:
    simulate(run(seed, tmp_path, mortal=True, crash=True), seed)
