"""What clients do at the same time, each step where it does most harm: nothing is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from daos.base.errors import (
    DaosError,
    DeadlineError,
    NoSpaceError,
    NotFoundError,
    TxUncertainError,
)
from daos.client.chunks import Piece
from daos.client.objectio import ObjectIo
from daos.dfs import moving, namespace
from daos.dfs.entries import Found
from daos.dfs.errors import NotEmptyError
from daos.dfs.layout import Kind
from daos.dfs.mount import Mount
from daos.dfs.namespace import has_entries
from daos.dfs.node import Directory, File
from daos.object.link import Call
from tests.sim.test_file_marks import mounted

CREATE = os.O_CREAT | os.O_RDWR


async def tree(mount: Mount, directory: Directory | None = None, path: str = "") -> set[str]:
    """Every path that leads somewhere."""
    found = set()
    at = mount.root if directory is None else directory
    async for name in mount.readdir(at):
        found.add(f"{path}/{name}")
        node = await mount.lookup_rel(at, name)
        if isinstance(node, Directory):
            found |= await tree(mount, node, f"{path}/{name}")
    return found


def test_nobody_appends_into_a_range_of_which_a_part_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(mount: Mount) -> None:
        one = await mount.open_file(mount.root, "log", CREATE, chunk_size=4096)
        other = await mount.open_file(mount.root, "log", os.O_RDWR)
        wrote, goes_on = asyncio.Event(), asyncio.Event()
        write = one.array._write

        async def slowly(pieces: Sequence[Piece], view: memoryview, call: Call) -> None:
            """The first piece, and then, when somebody says so, the others."""
            for piece in pieces:
                start = piece.position - pieces[0].position
                await write([piece], view[start : start + piece.count], call)
                wrote.set()
                await goes_on.wait()

        monkeypatch.setattr(one.array, "_write", slowly)
        appending = asyncio.ensure_future(one.append(b"A" * 10_000))
        await wrote.wait()
        assert await other.append(b"B" * 100) == 10_000
        goes_on.set()
        assert await appending == 0
        assert await one.read(0, 20_000) == b"A" * 10_000 + b"B" * 100

    mounted(tmp_path, body)


@pytest.mark.parametrize(("error", "offset"), [(NoSpaceError, 0), (TxUncertainError, 5000)])
def test_a_range_stays_claimed_as_long_as_it_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[DaosError], offset: int
) -> None:
    async def body(mount: Mount) -> None:
        file = await mount.open_file(mount.root, "log", CREATE, chunk_size=4096)
        with monkeypatch.context() as patch:

            async def fails(*_args: object) -> None:
                raise error

            patch.setattr(file.array, "_write", fails)
            with pytest.raises(error):
                await file.append(b"A" * 5000)
        assert await file.append(b"B") == offset

    mounted(tmp_path, body)


def test_what_is_moved_into_a_directory_that_is_being_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(mount: Mount) -> None:
        root = mount.root
        await mount.mkdir(root, "new")
        old = await mount.mkdir(root, "old")
        write = moving._Move._write
        inside: list[asyncio.Task[object]] = []

        async def late(move: moving._Move, found: Found, *, over: bool) -> bool:
            if over:  # the old one was found empty
                inside.append(asyncio.ensure_future(mount.move(root, "f", old, "f")))
                await asyncio.wait(inside, timeout=1)
            return await write(move, found, over=over)

        monkeypatch.setattr(moving._Move, "_write", late)
        assert await mount.move(root, "new", root, "old") == old.oid
        with pytest.raises(NotFoundError, match="'old' was removed"):
            await inside[0]
        assert await tree(mount) == {"/f", "/old"}

    mounted(tmp_path, body)


def test_a_move_for_which_there_is_no_space_leaves_no_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(mount: Mount) -> None:
        async def full(*_args: object, **_named: object) -> bool:
            raise NoSpaceError

        with monkeypatch.context() as patch:
            patch.setattr(moving._Move, "_write", full)
            with pytest.raises(NoSpaceError):
                await mount.move(mount.root, "f", mount.root, "g")
        await mount.move(mount.root, "f", mount.root, "g", timeout=1)
        assert await tree(mount) == {"/g"}

    mounted(tmp_path, body)


def test_a_removed_directory_whose_name_is_taken_when_it_is_found_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(mount: Mount) -> None:
        removed = await mount.mkdir(mount.root, "d")
        looked = []

        async def look(io: ObjectIo, call: Call) -> bool:
            looked.append(io)
            if len(looked) == 2:  # the entry is gone
                await mount.open_file(removed, "late", CREATE)
                await mount.mkdir(mount.root, "d")
            return await has_entries(io, call)

        monkeypatch.setattr(namespace, "has_entries", look)
        with pytest.raises(
            NotEmptyError, match=r"its name was taken: it is '\.dfs-removed-"
        ) as told:
            await mount.remove(mount.root, "d", Kind.DIRECTORY)
        name = told.value.message.split("'")[-2]
        assert await tree(mount) == {"/f", "/d", f"/{name}", f"/{name}/late"}

    mounted(tmp_path, body)


def test_a_directory_is_not_moved_into_what_went_into_it_before(tmp_path: Path) -> None:
    async def body(mount: Mount) -> None:
        above = await mount.mkdir(mount.root, "above")
        other = await mount.mkdir(mount.root, "other")
        inner = await mount.mkdir(other, "inner")
        await mount.move(mount.root, "other", above, "other")
        # Whoever opened `inner` knows it by the way that it had then.
        with pytest.raises(NotFoundError, match="'other' was removed, or moved"):
            await mount.move(mount.root, "above", inner, "above")
        assert await tree(mount) == {"/above", "/above/other", "/above/other/inner", "/f"}
        assert await mount.remove(mount.root, "above", force=True) == above.oid  # no mark stayed

    mounted(tmp_path, body)


def test_directories_that_are_moved_into_each_other(tmp_path: Path) -> None:
    async def body(mount: Mount) -> None:
        mounts = [mount, await Mount.open(mount.container)]
        moved = 0
        for number in range(12):
            names = [f"{side}{number}" for side in "ab"]
            inner = [
                await mount.mkdir(await mount.mkdir(mount.root, name), "inner") for name in names
            ]

            async def move(
                side: int, names: list[str] = names, inner: list[Directory] = inner
            ) -> None:
                own = mounts[side]
                into = await own.lookup(f"/{names[1 - side]}/inner")
                await asyncio.sleep(0.0003 * side)
                await own.move(own.root, names[side], into, names[side])

            results = await asyncio.gather(move(0), move(1), return_exceptions=True)
            failed = [each for each in results if each is not None]
            assert all(isinstance(each, NotFoundError) for each in failed), results
            moved += 2 - len(failed)
            there = await tree(mount)
            for name in names:
                assert any(path.endswith(f"/{name}/inner") for path in there), (there, results)
        assert moved == 12  # one of the two each time

    mounted(tmp_path, body)


def test_a_tree_deeper_than_calls_nest_that_takes_longer_than_a_timeout(tmp_path: Path) -> None:
    async def body(mount: Mount) -> None:
        at = top = await mount.mkdir(mount.root, "top")
        for _ in range(400):
            at = await mount.mkdir(at, "d")
        await mount.open_file(at, "f", CREATE)
        mount._session.default_timeout = 0.1
        loop = asyncio.get_running_loop()
        with pytest.raises(DeadlineError):
            await mount.remove(mount.root, "top", Kind.DIRECTORY, force=True, timeout=0.1)
        began = loop.time()
        assert await mount.remove(mount.root, "top", Kind.DIRECTORY, force=True) == top.oid
        assert loop.time() - began > 0.2
        assert await tree(mount) == {"/f"}

    mounted(tmp_path, body)


def test_the_root_is_told_of_what_others_change(tmp_path: Path) -> None:
    async def body(mount: Mount) -> None:
        other = await Mount.open(mount.container)
        await other.root.set_chunk_size(8192)
        assert (await mount.lookup("/")).entry.chunk_size == 8192
        file = await mount.open_file(mount.root, "g", CREATE)
        assert isinstance(file, File)
        assert file.chunk_size == 8192

    mounted(tmp_path, body)
