"""The power fails behind every device event while files are made, moved, exchanged and removed.

At each cut the tree is one of those that the call under way goes through, each file whole; then
what was left of a move is settled by whoever comes next, or by the checker, and no file is lost by
that either.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from daos.base.errors import NotFoundError
from daos.client.container import Container
from daos.dfs import format, marks
from daos.dfs.attributes import Stat
from daos.dfs.checker import Repair, check
from daos.dfs.layout import Role
from daos.dfs.mount import Mount
from daos.dfs.node import Directory, File
from daos.embedded.system import System
from daos.testing.devices import Image, MemoryDirectory
from daos.testing.recording import FlushEvent, Journal, RecordingDirectory
from tests.crash.system_cut import CONFIG, POOL, POOL_BYTES
from tests.model.twin import START_NS, FrozenClock

LABEL: Final = "files"
Tree = dict[str, bytes]  # what each path holds

BEFORE: Final[Tree] = {"a": b"A" * 5000, "b": b"B", "d/c": b"C" * 100}
SPARE: Final = ".dfs-exchange-"


class Step(NamedTuple):
    """A call, and the trees that there may be from its beginning to its end."""

    name: str
    call: Callable[[Mount, Directory], Awaitable[object]]
    trees: list[Tree]


def without(tree: Tree, *names: str) -> Tree:
    return {name: data for name, data in tree.items() if name not in names}


async def create(mount: Mount, parent: Directory, name: str, data: bytes) -> None:
    file = await mount.open_file(parent, name, os.O_CREAT | os.O_RDWR | os.O_EXCL)
    await file.write(0, data)


def steps() -> list[Step]:
    """Each begins where the one before has ended."""
    a, b, c = BEFORE["a"], BEFORE["b"], BEFORE["d/c"]
    done = [
        Step("create", lambda m, _d: create(m, m.root, "new", b"N"), []),
        Step("move", lambda m, d: m.move(m.root, "a", d, "a2"), []),
        Step("replace", lambda m, d: m.move(d, "a2", m.root, "b"), []),
        Step("exchange", lambda m, d: m.exchange(m.root, "b", d, "c"), []),
        Step("remove", lambda m, _d: m.remove(m.root, "new"), []),
        Step("empty", lambda m, d: m.move(d, "c", m.root, "c"), []),
        Step("rmdir", lambda m, _d: m.remove(m.root, "d"), []),
    ]
    new = {**BEFORE, "new": b"N"}
    moved = {**without(new, "a"), "d/a2": a}
    replaced = {**without(moved, "d/a2"), "b": a}
    exchanged = {**replaced, "b": c, "d/c": a}
    removed = without(exchanged, "new")
    emptied = {**without(removed, "d/c"), "c": a}
    trees: list[list[Tree]] = [
        [BEFORE, {**BEFORE, "new": b""}, new],
        [new, {**new, "d/a2": a}, moved],
        [moved, {**moved, "b": a}, replaced],
        [
            replaced,
            {**replaced, SPARE: a},
            {**without(replaced, "b"), SPARE: a},
            {**replaced, SPARE: a, "b": c},
            {**without(replaced, "d/c"), SPARE: a, "b": c},
            {**exchanged, SPARE: a},
            exchanged,
        ],
        [exchanged, removed],
        [removed, {**removed, "c": a}, emptied],
        [emptied, emptied],
    ]
    assert b
    return [step._replace(trees=each) for step, each in zip(done, trees, strict=True)]


@asynccontextmanager
async def started(
    directory: MemoryDirectory, live: Path, clock: FrozenClock, seed: int
) -> AsyncIterator[System]:
    system = await System.start(
        CONFIG, directory=directory, live_path=live, clock=clock, rng=random.Random(seed)
    )
    try:
        yield system
    finally:
        await system.stop(checkpoint=False)


@asynccontextmanager
async def opened(system: System) -> AsyncIterator[Container]:
    client = await system.connect()
    async with client.pool(POOL) as pool, pool.container(LABEL) as container:
        yield container
    await client.close()


async def record(live: Path) -> tuple[Journal, list[tuple[int, int]]]:
    """The journal, and for each step where it began and where it had ended."""
    directory, spans = RecordingDirectory(), []
    async with started(directory, live, FrozenClock(), 1) as system:
        await system.admin.pool_create(POOL, POOL_BYTES)
        client = await system.connect()
        async with client.pool(POOL) as pool:
            await (await pool.create_container(LABEL, "POSIX", chunk_size=4096)).close()
        await client.close()
        async with opened(system) as container:
            mount = await Mount.open(container)
            parent = await mount.mkdir(mount.root, "d")
            for path, data in BEFORE.items():
                *inner, name = path.split("/")
                await create(mount, parent if inner else mount.root, name, data)
            for step in steps():
                begin = len(directory.journal)
                await step.call(mount, parent)
                spans.append((begin, len(directory.journal)))
    return directory.journal, spans


async def walk(
    mount: Mount, directory: Directory, above: str = ""
) -> AsyncIterator[tuple[str, Directory, str, Stat]]:
    async for name, seen in mount.readdirplus(directory):
        node = await mount.lookup_rel(directory, name)
        if isinstance(node, Directory):
            async for found in walk(mount, node, f"{above}{name}/"):
                yield found
        else:
            yield above + name, directory, name, seen


async def tree_of(mount: Mount) -> Tree:
    """What there is. The name that an exchange draws is cut."""
    tree: Tree = {}
    async for path, directory, name, seen in walk(mount, mount.root):
        file = await mount.lookup_rel(directory, name)
        assert isinstance(file, File)
        data = await file.read(0, seen.st_size + 1)
        assert len(data) == seen.st_size
        tree[SPARE if path.startswith(SPARE) else path] = data
    return tree


async def judge(images: dict[str, Image], live: Path, cut: int, step: Step) -> str:
    """Start on what is left, look, go on; the names that one file had."""
    clock = FrozenClock(START_NS + 3600 * 10**9)
    async with (
        started(MemoryDirectory(images), live, clock, cut) as system,
        opened(system) as found,
    ):
        mount = await Mount.open(found)
        tree = await tree_of(mount)
        assert tree in step.trees, f"{step.name} left {sorted(tree)}"
        paths = [entry async for entry in walk(mount, mount.root)]
        names = Counter(seen.oid for *_, seen in paths)
        twice = [entry for entry in paths if names[entry[3].oid] > 1]
        for path, directory, name, seen in twice[cut % 2 :: 2]:
            # A remover of the source finds that it has gone, one of the target removes the file.
            before = await tree_of(mount)
            with mount._operation(None) as call:
                at = await marks.fetch(directory.at(name.encode()), call)
            mark = None if at is None else marks.mark_of(at)
            try:
                removed = await mount.remove(directory, name)
            except NotFoundError:
                removed = None
            after = await tree_of(mount)
            left = [entry async for entry in walk(mount, mount.root)]
            holders = [entry for entry in left if entry[3].oid == seen.oid]
            assert mark is not None
            assert (removed is None) == (mark.role is Role.SOURCE)
            if removed is None:
                assert len(holders) == 1
                assert path not in after
                assert set(after.values()) == set(before.values())
            else:
                assert removed == seen.oid
                assert not holders
        for _, directory, name, seen in [entry async for entry in walk(mount, mount.root)]:
            await mount.move(directory, name, directory, name + "~")
            moved = await mount.stat(directory, name + "~")
            assert (moved.oid, moved.st_size) == (seen.oid, seen.st_size)
        if "new" in tree:
            with pytest.raises(NotFoundError):
                await mount.remove(mount.root, "new")
        return " ".join(sorted(path for path, *_ in twice))


def test_no_file_is_lost_wherever_it_is_cut(live_path: Path) -> None:
    async def run() -> Counter[str]:
        journal, spans = await record(live_path / "recorded")
        rng, seen = random.Random(1), Counter[str]()
        for step, (begin, end) in zip(steps(), spans, strict=True):
            for cut in range(begin, end + 1):
                certain = isinstance(journal.events[cut - 1], FlushEvent)
                images = journal.image(cut, rng, keep="none" if certain else "some")
                try:
                    seen[await judge(images, live_path / "recovered", cut, step)] += 1
                except Exception as error:
                    error.add_note(f"power cut behind event {cut}, while {step.name}")
                    raise
        return seen

    seen = asyncio.run(run())
    # It was cut where a file has two names: in each move, and in the three of the exchange.
    assert {"a d/a2", "b d/a2", "b d/c", "c d/c"} <= seen.keys()


async def checked(images: dict[str, Image], live: Path, cut: int, step: Step) -> str:
    """Start on what is left, and let the checker repair it; what it found."""
    clock = FrozenClock(START_NS + 3600 * 10**9)
    repair = Repair.RELINK if cut % 2 else Repair.REMOVE
    async with started(MemoryDirectory(images), live, clock, cut) as system:
        client = await system.connect()
        async with client.pool(POOL) as pool, pool.container(LABEL, "ex") as alone:
            looked = await check(alone)
            before = await tree_of(await Mount.open(alone))
            assert before in step.trees
            did = await check(alone, repair | Repair.VERIFY, "found")
            assert (did.leaked, did.moves, did.damaged) == (looked.leaked, looked.moves, ())
            assert (await check(alone, repair)).clean
            mount = await Mount.open(alone)
            paths = [entry async for entry in walk(mount, mount.root)]
            after = await tree_of(mount)
            saved = {path for path in after if path.startswith("lost+found/")}
            assert {path: before[path] for path in after.keys() - saved}.items() <= after.items()
            assert {after[path] for path in after.keys() - saved} == set(before.values())
            assert len({seen.oid for *_, seen in paths}) == len(paths)
            assert did.relinked == (len(looked.leaked) if repair is Repair.RELINK else 0)
            named = {mount.root.oid, mount.root.parent_oid}
            named |= {oid for _, above, _, seen in paths for oid in (above.oid, seen.oid)}
            if did.relinked:
                named.add((await mount.lookup("/lost+found")).oid)
            stored = {oid async for oid in alone.objects()}
            assert stored - {d.oid for d in await directories(mount, mount.root)} <= named
        await client.close()
    return f"{'moves' if looked.moves else ''} {'leaked' if looked.leaked else ''}"


async def directories(mount: Mount, above: Directory) -> list[Directory]:
    found = [above]
    async for name in mount.readdir(above):
        node = await mount.lookup_rel(above, name)
        if isinstance(node, Directory):
            found += await directories(mount, node)
    return found


def test_the_checker_ends_what_was_left(live_path: Path) -> None:
    async def run() -> Counter[str]:
        journal, spans = await record(live_path / "recorded")
        rng, seen = random.Random(3), Counter[str]()
        for step, (begin, end) in zip(steps(), spans, strict=True):
            for cut in range(begin, end + 1):
                certain = isinstance(journal.events[cut - 1], FlushEvent)
                images = journal.image(cut, rng, keep="none" if certain else "some")
                try:
                    seen[await checked(images, live_path / "recovered", cut, step)] += 1
                except Exception as error:
                    error.add_note(f"power cut behind event {cut}, while {step.name}")
                    raise
        return seen

    seen = asyncio.run(run())
    assert seen.keys() >= {" ", "moves ", " leaked"}


def test_a_container_is_a_file_system_or_can_become_one(live_path: Path) -> None:
    async def run() -> Counter[str]:
        directory = RecordingDirectory()
        async with started(directory, live_path / "recorded", FrozenClock(), 1) as system:
            await system.admin.pool_create(POOL, POOL_BYTES)
            client = await system.connect()
            begin = len(directory.journal)
            async with client.pool(POOL) as pool:
                await (await pool.create_container(LABEL, "POSIX")).close()
            end = len(directory.journal)
            await client.close()
        rng, seen = random.Random(2), Counter[str]()
        for cut in range(begin, end + 1):
            images = directory.journal.image(cut, rng, keep="some")
            seen[await mounted(images, live_path / "recovered", cut)] += 1
        return seen

    async def mounted(images: dict[str, Image], live: Path, cut: int) -> str:
        async with started(MemoryDirectory(images), live, FrozenClock(), cut) as system:
            client = await system.connect()
            async with client.pool(POOL) as pool:
                if LABEL not in [listed.label for listed in await pool.containers()]:
                    return "nothing"
            async with opened(system) as container:
                try:
                    await Mount.open(container)
                    return "all"
                except NotFoundError as error:
                    missing = error.message
                if "superblock" in missing:
                    await format.recreate_superblock(container, {})
                await format.relink_root(container)
                await Mount.open(container)
                return "root" if "root" in missing else "superblock"

    seen = asyncio.run(run())
    assert seen.keys() == {"nothing", "superblock", "root", "all"}
