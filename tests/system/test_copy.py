"""Trees of files into containers, out of them, and between them; what a copy leaves when it ends.

What is expected is told by `os`, of trees of this host.
"""

from __future__ import annotations

import itertools
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import daos
from daos.base.errors import CorruptError, DaosError, ExistsError, InvalidError, NoSpaceError
from daos.client.portal import Portal
from daos.dfs.copy import copy
from daos.dfs.end_local import LocalEnd
from daos.dfs.end_stored import StoredEnd
from daos.dfs.errors import UnsupportedError
from daos.dfs.mount import Mount
from daos.dfs.tandem import Stats, route
from daos.dfs.verify import Verdict, verify

LARGE = 9_000_001  # three pieces
_labels = (f"copy-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def pool() -> Iterator[daos.Pool]:
    with daos.local(targets=2) as system:
        system.admin.pool_create("tank", "512MiB")
        with system.connect() as client, client.pool("tank") as pool:
            yield pool


class Files:
    """A container's file system, and copies into it and out of it."""

    def __init__(self, container: daos.Container) -> None:
        self.container = container
        self.portal: Portal = container._portal
        self.mount: Mount = self.call(Mount.open, container._core)
        self.end = StoredEnd(self.mount)

    def call(self, function: Callable[..., Any], *args: object, **named: object) -> Any:  # noqa: ANN401  # what it gives
        return self.portal.call(function, *args, **named)

    def store(self, source: Path, target: str, *, here: bool = False, **options: Any) -> Stats:  # noqa: ANN401  # of copy
        return self._copy(LocalEnd(), str(source), self.end, target, here, options)

    def fetch(self, source: str, target: Path, *, here: bool = False, **options: Any) -> Stats:  # noqa: ANN401  # of copy
        return self._copy(self.end, source, LocalEnd(), str(target), here, options)

    def compare(self, source: Path, target: str) -> list[tuple[str, str]]:
        async def work() -> Verdict:
            return await verify(await route(LocalEnd(), str(source), self.end, target, here=True))

        verdict: Verdict = self.call(work)
        assert verdict.count == len(verdict.differences)
        return [(os.path.relpath(path, source), how) for path, how in verdict.differences]

    def _copy(self, *args: Any) -> Stats:  # noqa: ANN401  # of either kind
        *ends, here, options = args

        async def work() -> Stats:
            return await copy(await route(*ends, here=here), **options)

        stats: Stats = self.call(work)
        return stats


@pytest.fixture
def files(pool: daos.Pool) -> Iterator[Files]:
    container = pool.create_container(next(_labels), type="POSIX")
    yield Files(container)
    container.close()
    pool.destroy_container(container.uuid, force=True)


def look(top: Path) -> dict[str, tuple[object, ...]]:
    """All that a copy has to keep, by path."""
    found: dict[str, tuple[object, ...]] = {}
    paths = [top]
    for directory, inner, names in os.walk(top):
        paths += [Path(directory, name) for name in (*inner, *names)]
    for path in paths:
        info = path.lstat()
        content: object = None
        if stat.S_ISREG(info.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(info.st_mode):
            content = os.readlink(path)
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        key = str(path.relative_to(top))
        found[key] = (oct(info.st_mode), info.st_mtime_ns, content, attributes)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some of everything that can be copied."""
    top, rng = tmp_path / "tree", random.Random(7)
    for number in range(3):
        inner = top / f"d{number}" / "inner"
        inner.mkdir(parents=True)
        for name in range(40):
            data = rng.randbytes(rng.choice([0, 1, 100, 4095, 4096, 20_000]))
            (inner / f"f{name}").write_bytes(data)
    (top / "empty" / "too").mkdir(parents=True)
    (top / "large").write_bytes(rng.randbytes(LARGE))
    (top / "whole").write_bytes(rng.randbytes(1 << 20))
    with open(top / "holes", "wb") as holes:
        holes.seek(5 << 20)
        holes.write(b"x")
        holes.truncate(13_000_000)
    (top / "link").symlink_to("d0/inner/f1")
    (top / "dangling").symlink_to("/nowhere/at all")
    (top / "café \n").write_bytes(b"name")
    (top / os.fsdecode(b"\xff\xfe")).write_bytes(b"no UTF-8")
    os.setxattr(top / "whole", "user.color", b"red")
    os.setxattr(top / "whole", "user.empty", b"")
    os.setxattr(top / "large", "user.big", b"b" * 1000)
    os.setxattr(top / "d0", "user.of", b"a directory")
    os.setxattr(top / "d1", "user.daos", b"DAOS.POSIX://a mark, which is not copied")
    (top / "d1" / "inner" / "f1").chmod(0o400)
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 10**18 + 7 * number), follow_symlinks=False)
    (top / "d2" / "inner").chmod(0o500)
    os.utime(top, ns=(0, -5))
    yield top
    for each in tmp_path.rglob("inner"):
        each.chmod(0o700)


def expected(tree: Path) -> dict[str, tuple[object, ...]]:
    found = look(tree)
    found["d1"][3].pop("user.daos")  # type: ignore[attr-defined]  # a dict
    return found


class TestInAndOut:
    @pytest.mark.parametrize("workers", [1, 16])
    def test_all_comes_back_as_it_was(
        self, files: Files, tree: Path, tmp_path: Path, workers: int
    ) -> None:
        stored = files.store(tree, "/copy", workers=workers)
        assert (stored.directories, stored.files, stored.links) == (9, 125, 2)
        assert stored.nbytes == sum(
            path.lstat().st_size
            for path in tree.rglob("*")
            if path.is_file() and not path.is_symlink()
        )
        assert files.compare(tree, "/copy") == []
        fetched = files.fetch("/copy", tmp_path / "back", workers=workers)
        assert fetched == stored
        assert look(tmp_path / "back") == expected(tree)
        assert (tmp_path / "back" / "holes").stat().st_blocks * 512 < 6 << 20

    def test_from_container_to_container(
        self, pool: daos.Pool, files: Files, tree: Path, tmp_path: Path
    ) -> None:
        files.store(tree, "/copy")
        with pool.create_container(next(_labels), type="POSIX") as container:
            other = Files(container)
            files._copy(files.end, "/copy", other.end, "/", False, {})
            files._copy(files.end, "/copy", files.end, "/twin", False, {})
            assert other.compare(tree, "/copy") == []
            other.fetch("/copy", tmp_path / "back")
            files.fetch("/twin", tmp_path / "twin")
        assert look(tmp_path / "back") == look(tmp_path / "twin") == expected(tree)

    def test_a_snapshot_is_copied_as_it_was(self, files: Files, tree: Path, tmp_path: Path) -> None:
        files.store(tree, "/copy")
        epoch = files.container.snapshot()
        wanted = expected(tree)
        (tree / "whole").write_bytes(b"new")
        (tree / "added").write_bytes(b"new")
        files.store(tree, "/copy", here=True)
        with files.container.at(epoch) as view:
            then = StoredEnd(files.call(Mount.open, view._core))
            files._copy(then, "/copy", LocalEnd(), str(tmp_path / "then"), False, {})
        assert look(tmp_path / "then") == wanted

    def test_small_chunks(self, pool: daos.Pool, tree: Path, tmp_path: Path) -> None:
        with pool.create_container(next(_labels), type="POSIX", chunk_size=4096) as container:
            files = Files(container)
            (tree / "large").unlink()
            files.store(tree, "/copy")
            files.fetch("/copy", tmp_path / "back")
        assert look(tmp_path / "back") == expected(tree)

    def test_one_file_and_one_symlink(self, files: Files, tree: Path, tmp_path: Path) -> None:
        files.store(tree / "large", "/renamed")
        files.store(tree / "whole", "/")
        files.store(tree / "link", "/")
        files.fetch("/renamed", tmp_path / "large")
        files.fetch("/whole", tmp_path)
        files.fetch("/link", tmp_path)
        for name in ("large", "whole", "link"):
            assert look(tmp_path / name) == look(tree / name)


class TestDestination:
    def test_into_a_directory_or_as_it(self, files: Files, tree: Path, tmp_path: Path) -> None:
        for name in ("large", "holes"):
            (tree / name).unlink()
        files.store(tree, "/")
        files.store(tree, "/tree", here=True)
        files.store(tree, "/tree")
        files.store(tree, "/tree/other/", here=True)
        names = sorted(files.call(_names, files.mount, "/tree"))
        assert {"tree", "other", "whole"} < set(names)
        files.fetch("/", tmp_path / "all")  # the root has no name
        assert look(tmp_path / "all" / "tree" / "tree") == expected(tree)
        (tmp_path / "there").mkdir()
        files.fetch("/", tmp_path / "there")
        assert look(tmp_path / "there") == look(tmp_path / "all")

    def test_into_itself(self, files: Files, tree: Path, tmp_path: Path) -> None:
        files.store(tree, "/copy")
        files.call(files.mount.symlink, files.mount.root, "way", "/copy/d0")
        for target in ("/copy", "/copy/d0", "/copy/new", "/way", "/"):
            with pytest.raises(InvalidError, match="itself, or in it"):
                files._copy(files.end, "/copy", files.end, target, target == "/copy", {})
        (tmp_path / "way").symlink_to(tree / "d0")
        for path in (tree, tree / "new", tmp_path / "way", tmp_path):
            with pytest.raises(InvalidError, match="itself, or in it"):
                files._copy(LocalEnd(), str(tree), LocalEnd(), str(path), path == tree, {})

    def test_there_is_nothing(self, files: Files, tree: Path, tmp_path: Path) -> None:
        for call in (
            lambda: files.store(tmp_path / "none", "/x"),
            lambda: files.fetch("/none", tmp_path / "x"),
            lambda: files.store(tree, "/none/x"),
            lambda: files.fetch("/", tmp_path / "none" / "x"),
        ):
            with pytest.raises(FileNotFoundError, match="none"):
                call()
        assert not (tmp_path / "x").exists()

    def test_another_type_is_not_overwritten(self, files: Files, tmp_path: Path) -> None:
        first, second = tmp_path / "1", tmp_path / "2"
        for path in (first, second):
            path.mkdir()
        (first / "name").mkdir()
        (second / "name").write_text("file")
        files.store(first, "/a")
        files.store(second, "/b")
        for source, target in ((second, "/a"), (first, "/b")):
            with pytest.raises(ExistsError, match=r"name is a .* already"):
                files.store(source, target, here=True)
        (first / "name").rmdir()
        (first / "name").symlink_to(tmp_path / "outside")
        with pytest.raises(ExistsError, match="symlink already"):
            files.fetch("/b", first, here=True)
        assert not (tmp_path / "outside").exists()

    def test_a_copy_in_the_directory_is_not_overlooked(self, files: Files, tree: Path) -> None:
        files.store(tree, "/")
        with pytest.raises(InvalidError, match="name /tree"):
            files.store(tree, "/", here=True, resume=True)

    def test_what_is_there_is_overwritten(self, files: Files, tree: Path, tmp_path: Path) -> None:
        files.store(tree, "/copy")
        files.fetch("/copy", tmp_path / "back")
        (tree / "whole").write_bytes(b"shorter")
        (tree / "large").write_bytes(b"l" * (LARGE + 10))
        (tree / "link").unlink()
        (tree / "link").symlink_to("elsewhere")
        (tree / "d2" / "inner" / "f1").chmod(0o640)
        files.store(tree, "/copy", here=True)
        files.fetch("/copy", tmp_path / "back", here=True)
        assert look(tmp_path / "back") == expected(tree)


async def _names(mount: Mount, path: str) -> list[str]:
    return [name async for name in mount.readdir(await mount.lookup(path))]


class TestUnsupported:
    @pytest.fixture
    def odd(self, tmp_path: Path) -> Path:
        top = tmp_path / "odd"
        top.mkdir()
        os.mkfifo(top / "pipe")
        (top / "ok").write_text("ok")
        os.link(top / "ok", top / "hard")
        (top / "sticky").mkdir(mode=0o700)
        (top / "sticky").chmod(0o1750)
        return top

    def test_an_error_that_names_it(self, files: Files, odd: Path) -> None:
        with pytest.raises(UnsupportedError, match=r"pipe: a fifo|sticky: .* sticky bits"):
            files.store(odd, "/odd")

    def test_of_the_directory_that_is_copied_itself(self, files: Files, tmp_path: Path) -> None:
        top = tmp_path / "top"
        top.mkdir()
        files.store(top, "/copy")
        top.chmod(0o1750)
        with pytest.raises(UnsupportedError, match=r"top: .* sticky bits"):
            files.store(top, "/copy", here=True)
        stats = files.store(top, "/copy", here=True, ignore_unsupported=True)
        assert len(stats.unsupported) == 1
        assert files.compare(top, "/copy") == []

    def test_left_out_if_told(self, files: Files, odd: Path, tmp_path: Path) -> None:
        stats = files.store(odd, "/odd", ignore_unsupported=True)
        assert sorted(stats.unsupported) == [
            f"{odd}/pipe: a fifo can't be copied",
            f"{odd}/sticky: set-user-id, set-group-id and sticky bits can't be copied",
        ]
        files.fetch("/odd", tmp_path / "back")
        found = look(tmp_path / "back")
        assert sorted(found) == [".", "hard", "ok", "sticky"]
        assert (tmp_path / "back" / "ok").stat().st_nlink == 1
        assert (tmp_path / "back" / "sticky").stat().st_mode & 0o7777 == 0o750

    def test_a_name_that_leads_out_of_the_target(self, files: Files, tmp_path: Path) -> None:
        root = files.container.object(files.mount.root.oid)
        root.update(b"../outside", b"DFS_INODE", b"x")
        with pytest.raises(CorruptError, match="name of an entry"):
            files.fetch("/", tmp_path / "back")
        assert not (tmp_path / "outside").exists()


class TestResuming:
    def test_what_is_complete_is_skipped(self, files: Files, tree: Path, tmp_path: Path) -> None:
        for go in (
            lambda: files.store(tree, "/copy", here=True, resume=True),
            lambda: files.fetch("/copy", tmp_path / "back", here=True, resume=True),
        ):
            first, again = go(), go()
            assert (first.files, first.links, first.skipped) == (125, 2, 0)
            assert (again.files, again.links, again.skipped, again.nbytes) == (0, 0, 127, 0)
        (tree / "whole").write_bytes(bytes(1 << 20))  # as long as before
        (tree / "d1" / "inner" / "new").write_bytes(b"new")
        stats = files.store(tree, "/copy", here=True, resume=True)
        assert (stats.files, stats.skipped) == (2, 126)
        files.fetch("/copy", tmp_path / "back", here=True, resume=True)
        assert look(tmp_path / "back") == expected(tree)

    @pytest.mark.parametrize("after", [1, 3, 6, 10])
    @pytest.mark.parametrize("out", [False, True])
    def test_a_copy_that_ended_early_goes_on(
        self, files: Files, tree: Path, tmp_path: Path, after: int, out: bool
    ) -> None:
        """It ends at some report; nothing that is not whole looks like its source."""
        back = tmp_path / "back"
        if out:
            files.store(tree, "/copy")

        def go(**options: Any) -> Stats:  # noqa: ANN401  # of copy
            if out:
                return files.fetch("/copy", back, here=True, resume=True, **options)
            return files.store(tree, "/copy", here=True, resume=True, **options)

        left = iter(range(after))

        def report(stats: Stats) -> None:
            if next(left, None) is None:
                raise NoSpaceError("enough")

        with pytest.raises(NoSpaceError, match="enough"):
            go(report=report, workers=2)
        if not out:
            files.fetch("/copy", back)
        wanted = expected(tree)
        for path, seen in look(back).items():
            if seen[2] != wanted[path][2]:  # a file of pieces, not all of them written
                assert path in ("large", "holes")
                assert seen[:2] != wanted[path][:2]
        if not out:
            for path in back.rglob("inner"):
                path.chmod(0o700)
        stats = go()
        assert stats.skipped > 0
        assert stats.files + stats.links + stats.skipped == 127
        if not out:
            files.fetch("/copy", tmp_path / "whole")
        assert look(tmp_path / "whole" if not out else back) == wanted

    @pytest.mark.parametrize("out", [False, True])
    def test_what_was_being_overwritten_is_not_complete(
        self, files: Files, tree: Path, tmp_path: Path, out: bool
    ) -> None:
        back = tmp_path / "back"
        files.store(tree, "/copy")
        files.fetch("/copy", back)
        old = (tree / "large").stat().st_mtime_ns
        for content, time_ns in ((b"1", old + 1), (b"2", old)):  # the old time, too
            (tree / "large").write_bytes(content * LARGE)
            os.utime(tree / "large", ns=(0, time_ns))

            def report(stats: Stats) -> None:
                if stats.nbytes:
                    raise NoSpaceError("enough")

            def go(report: Callable[[Stats], None] | None = None, resume: bool = True) -> Stats:
                options = {"resume": resume, "report": report, "workers": 1}
                if out:
                    return files.fetch("/copy/large", back / "large", **options)
                return files.store(tree / "large", "/copy/large", **options)

            if out:
                files.store(tree / "large", "/copy/large")
            with pytest.raises(NoSpaceError, match="enough"):
                go(report, resume=False)
            assert go().files == 1
            if not out:
                files.fetch("/copy/large", back / "large")
            assert look(back / "large") == look(tree / "large")


class TestVerifying:
    def test_a_flipped_byte_is_found(self, files: Files, tree: Path) -> None:
        files.store(tree, "/copy")
        assert files.compare(tree, "/copy") == []
        for path, offset in (("large", LARGE - 3), ("d1/inner/f3", 0), ("whole", 777)):
            data = (tree / path).read_bytes()
            if data:
                node = files.call(files.mount.lookup, f"/copy/{path}")
                files.call(node.write, offset, bytes([data[offset] ^ 1]))
        found = files.compare(tree, "/copy")
        assert ("large", f"differs at byte {LARGE - 3}") in found
        assert ("whole", "differs at byte 777") in found

    def test_what_else_can_differ(self, files: Files, tree: Path) -> None:
        files.store(tree, "/copy")
        (tree / "link").unlink()
        (tree / "link").symlink_to("other")
        (tree / "whole").write_bytes(b"short")
        (tree / "new").write_bytes(b"new")
        (tree / "d0").chmod(0o711)
        (tree / "dangling").unlink()
        (tree / "dangling").mkdir()
        assert files.compare(tree, "/copy") == [
            ("d0", "has permissions 0755, not 0711"),
            ("dangling", "is of another type"),
            ("link", "leads to 'd0/inner/f1', not 'other'"),
            ("new", "is missing"),
            ("whole", "has 1048576 bytes, not 5"),
        ]
        assert files.compare(tree / "new", "/none") == [(".", "is missing")]

    def test_workers_are_counted(self, files: Files, tree: Path) -> None:
        for workers in (0, 257):
            with pytest.raises(DaosError, match="workers"):
                files.store(tree, "/copy", workers=workers)
