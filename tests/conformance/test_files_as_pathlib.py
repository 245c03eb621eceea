"""`fs.path(...)` against `pathlib.Path` on a directory of this host: the same calls, one by one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import pytest

import daos
from daos.dfs.path import Path as FilePath

Either = Path | FilePath


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FilePath, Path]]:
    with daos.local() as system:
        system.admin.pool_create("tank", "128MiB")
        with (
            system.connect() as client,
            client.pool("tank") as pool,
            pool.create_container("c", type="POSIX") as cont,
            cont.filesystem() as fs,
        ):
            yield fs.path("/"), tmp_path_factory.mktemp("root")


def build(top: Either) -> None:
    (top / "pkg/sub.d/deep").mkdir(parents=True)
    (top / "empty").mkdir()
    for name in ("a.py", "b.txt", "pkg/c.py", "pkg/sub.d/d.py", "pkg/sub.d/deep/e.PY", "pkg/.hid"):
        (top / name).write_text(name)
    (top / "to-pkg").symlink_to("pkg")
    (top / "pkg/to-a").symlink_to("../a.py")
    (top / "broken").symlink_to("nowhere")


def said(call: Callable[[Either], object], top: Either) -> object:
    try:
        return plain(call(top), top)
    except ValueError:
        return errno.EINVAL
    except OSError as error:
        return error.errno


def plain(value: object, top: Either) -> object:
    if isinstance(value, PurePosixPath | FilePath):
        return "path " + str(value).removeprefix(str(top))
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return value
    return sorted(str(plain(item, top)) for item in value)


def lines_of(path: Either) -> list[str]:
    with path.open() as file:
        return file.readlines()


CALLS: dict[str, Callable[[Either], object]] = {
    "iterdir": lambda top: top.iterdir(),
    "iterdir of a file": lambda top: (top / "a.py").iterdir(),
    "exists": lambda top: [(top / name).exists() for name in ("a.py", "broken", "x", "to-pkg")],
    "kinds": lambda top: [
        (path.is_file(), path.is_dir(), path.is_symlink()) for path in sorted(top.iterdir())
    ],
    "read": lambda top: (top / "to-pkg" / "to-a").read_text(),
    "read bytes": lambda top: (top / "a.py").read_bytes(),
    "read a directory": lambda top: top.read_text(),
    "write": lambda top: (top / "new").write_bytes(b"12345"),
    "write text": lambda top: (top / "new").write_text("öa\n", encoding="latin-1", newline="\r\n"),
    "open": lambda top: lines_of(top / "a.py"),
    "size": lambda top: (top / "a.py").stat().st_size,
    "lstat": lambda top: (top / "broken").lstat().st_size,
    "stat": lambda top: (top / "broken").stat(),
    "readlink": lambda top: (top / "broken").readlink(),
    "readlink of a file": lambda top: (top / "a.py").readlink(),
    "same file": lambda top: (top / "pkg/to-a").samefile(top / "a.py"),
    "other file": lambda top: (top / "b.txt").samefile(top / "a.py"),
    "mkdir": lambda top: (top / "pkg").mkdir(),
    "mkdir, there": lambda top: (top / "pkg").mkdir(exist_ok=True),
    "mkdir, a file": lambda top: (top / "a.py").mkdir(exist_ok=True),
    "mkdir, broken": lambda top: (top / "broken").mkdir(exist_ok=True),
    "mkdir below": lambda top: (top / "n/m").mkdir(),
    "mkdir parents": lambda top: (top / "n/m").mkdir(parents=True),
    "mkdir parents again": lambda top: (top / "pkg/sub.d").mkdir(parents=True),
    "mkdir parents, there": lambda top: (top / "pkg/sub.d").mkdir(parents=True, exist_ok=True),
    "touch": lambda top: (top / "t").touch(),
    "touch again": lambda top: (top / "a.py").touch(),
    "touch, not again": lambda top: (top / "a.py").touch(exist_ok=False),
    "unlink": lambda top: (top / "b.txt").unlink(),
    "unlink missing": lambda top: (top / "x").unlink(),
    "unlink missing, ok": lambda top: (top / "x").unlink(missing_ok=True),
    "unlink a directory": lambda top: (top / "pkg").unlink(),
    "rmdir": lambda top: (top / "empty").rmdir(),
    "rmdir, not empty": lambda top: (top / "pkg").rmdir(),
    "rename": lambda top: (top / "a.py").rename(top / "empty/a"),
    "rename over": lambda top: (top / "a.py").replace(top / "b.txt"),
    "rename over a directory": lambda top: (top / "a.py").rename(top / "pkg"),
    "symlink": lambda top: (top / "a.py").symlink_to("b"),
    "chmod": lambda top: ((top / "a.py").chmod(0o640), (top / "a.py").stat().st_mode)[1],
    "glob *": lambda top: top.glob("*"),
    "glob *.py": lambda top: top.glob("*.py"),
    "glob */*.py": lambda top: top.glob("*/*.py"),
    "glob **/*.py": lambda top: top.glob("**/*.py"),
    "glob **": lambda top: top.glob("**"),
    "glob **/*": lambda top: top.glob("**/*"),
    "glob pkg/**/d*": lambda top: top.glob("pkg/**/d*"),
    "glob pkg/*/../*": lambda top: top.glob("pkg/*.py"),
    "glob [ab].*": lambda top: top.glob("[ab].*"),
    "glob ?.py": lambda top: top.glob("?.py"),
    "glob to-pkg/*": lambda top: top.glob("to-pkg/*"),
    "glob x/*": lambda top: top.glob("x/*"),
    "glob a.py/*": lambda top: top.glob("a.py/*"),
    "glob broken": lambda top: top.glob("b*"),
    "rglob *.py": lambda top: top.rglob("*.py"),
    "rglob .*": lambda top: top.rglob(".*"),
    "glob /": lambda top: list(top.glob("")),
    "glob a**": lambda top: list(top.glob("a**")),
}


@pytest.mark.parametrize("name", CALLS)
def test_says_the_same(roots: tuple[FilePath, Path], name: str) -> None:
    top = f"t{list(CALLS).index(name)}"
    ours, theirs = roots[0] / top, roots[1] / top
    for each in (ours, theirs):
        build(each)
    assert said(CALLS[name], ours) == said(CALLS[name], theirs)
    left = [
        sorted(str(path).removeprefix(str(each)) for path in each.glob("**/*"))
        for each in (ours, theirs)
    ]
    assert left[0] == left[1]


@pytest.mark.parametrize(
    "text", ["/", "/a", "/a/b.tar.gz", "/a/./b//c/", "//a", "/.hid", "/a/..", "a", "", "/ä b"]
)
def test_names(roots: tuple[FilePath, Path], text: str) -> None:
    fs = roots[0]._fs
    ours, theirs = fs.path(text), PurePosixPath("/", text.lstrip("/"))
    for name in ("name", "stem", "suffix", "suffixes", "parts", "root"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert str(ours) == ours.as_posix() == str(theirs)
    assert str(ours.parent) == str(theirs.parent)
    assert [str(up) for up in ours.parents] == [str(up) for up in theirs.parents]
    assert str(ours / "x" / "../y") == str(theirs / "x" / "../y")
    assert str(ours.joinpath("x", "/y")) == "/y"
    assert ours.relative_to("/") == theirs.relative_to("/")
    assert ours.is_relative_to("/a") == theirs.is_relative_to("/a")
    assert ours.match("*.gz") == theirs.match("*.gz")
    assert ours.is_absolute()
    if theirs.name:
        for change in ("with_name", "with_stem"):
            assert str(getattr(ours, change)("z")) == str(getattr(theirs, change)("z"))
        assert str(ours.with_suffix(".s")) == str(theirs.with_suffix(".s"))
    else:
        with pytest.raises(ValueError, match="empty name"):
            ours.with_name("z")


def test_paths_are_values(roots: tuple[FilePath, Path]) -> None:
    fs = roots[0]._fs
    assert fs.path("/a/b") == fs.path("/a") / "b" == fs.path("a", "b")
    assert len({fs.path("/a"), fs.path("a"), fs.path("/b")}) == 2
    assert sorted([fs.path("/b"), fs.path("/a")])[0] == fs.path("/a")
    assert fs.path("/a") != PurePosixPath("/a")
    assert "'/a'" in repr(fs.path("/a"))
    with pytest.raises(TypeError):
        fs.path("/a") / 3  # type: ignore[operator]  # a mistake
    with pytest.raises(TypeError):
        assert fs.path("/a") < PurePosixPath("/a")
    for reach_out in (open, os.stat, shutil.rmtree):
        with pytest.raises(TypeError):
            reach_out(fs.path("/given"))  # type: ignore[operator]  # of this host: not meant
    fs.path("/given").write_text("to the file system")
    assert fs.read_text(fs.path("/given")) == "to the file system"


def test_a_walk(roots: tuple[FilePath, Path]) -> None:
    """As `Path.walk` of Python 3.12 tells it."""
    top = roots[0] / "walk"
    build(top)
    found = {str(here.relative_to(top)): (dirs, files) for here, dirs, files in top.walk()}
    assert sorted(found) == [".", "empty", "pkg", "pkg/sub.d", "pkg/sub.d/deep"]
    dirs, files = found["."]
    assert (sorted(dirs), sorted(files)) == (
        ["empty", "pkg"],
        ["a.py", "b.txt", "broken", "to-pkg"],
    )
    order = [here.name for here, _, _ in top.walk(top_down=False)]
    assert order[-1] == "walk"
    assert order.index("deep") < order.index("sub.d") < order.index("pkg")
    seen = [here.name for here, dirs, _ in top.walk() if not dirs.clear()]  # type: ignore[func-returns-value]
    assert seen == ["walk"]
    errors: list[OSError] = []
    assert not list((top / "none").walk(on_error=errors.append))
    assert isinstance(errors[0], FileNotFoundError)
    assert "to-pkg" in [here.name for here, _, _ in top.walk(follow_symlinks=True)]
