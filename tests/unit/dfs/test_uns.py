"""Addresses and marks. Expected texts are typed from dfs_block §3.13."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from uuid import UUID

import pytest

from daos.base.errors import DaosError, InvalidError
from daos.dfs import uns
from daos.dfs.errors import NoAttributeError
from daos.dfs.uns import Address, Mark, direct

POOL = UUID("8a05bf3a-a088-4a77-bb9f-df989fce7cc8")
CONT = UUID("30e5d364-62a1-4866-8d4a-3ad8c0ad8b4b")
TEXT = b"DAOS.POSIX://8a05bf3a-a088-4a77-bb9f-df989fce7cc8/30e5d364-62a1-4866-8d4a-3ad8c0ad8b4b\x00"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("daos://tank/c1", Address("tank", "c1")),
        ("daos://tank/c1/", Address("tank", "c1")),
        ("daos://tank/c1/a/b c", Address("tank", "c1", "/a/b c")),
        (f"daos://{POOL}/{CONT}/x", Address(str(POOL), str(CONT), "/x")),
        ("daos://tank", Address("tank", "")),
        ("daos://tank/", Address("tank", "")),
        ("/tank/c1/x", None),
        ("tank/c1", None),
    ],
)
def test_direct_forms(text: str, wanted: Address | None) -> None:
    assert direct(text) == wanted


def test_direct_forms_without_prefix() -> None:
    assert direct("/tank/c1/x", prefix=False) == Address("tank", "c1", "/x")
    assert direct("tank/c1", prefix=False) == Address("tank", "c1")
    assert direct("/tank", prefix=False) is None


@pytest.mark.parametrize("text", ["daos://", "daos:///c1"])
def test_an_address_without_a_pool(text: str) -> None:
    with pytest.raises(InvalidError, match="names no pool"):
        direct(text)


def test_a_mark_is_the_reference_s_text() -> None:
    mark = Mark("POSIX", POOL, CONT)
    assert mark.emit() == TEXT
    assert Mark.parse(TEXT) == Mark.parse(TEXT[:-1]) == mark
    assert Mark.parse(TEXT.replace(b"POSIX", b"HDF5")).layout == "HDF5"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0",
        TEXT[:-3],
        TEXT + b"\0",
        TEXT[:-1] + b"0\0",
        TEXT.replace(b"POSIX", b"EXT4"),
        TEXT.replace(b"8a05", b"8z05"),
        TEXT.replace(b"DAOS", b"XAOS"),
        TEXT[:-1] + b" " * 100,
        b"\xff" * 90,
    ],
)
def test_what_is_no_mark(value: bytes) -> None:
    with pytest.raises(InvalidError, match=r"user\.daos"):
        Mark.parse(value)


class TestResolving:
    def test_from_a_mark_downwards(self, tmp_path: Path) -> None:
        marked = tmp_path / "marked"
        marked.mkdir()
        os.setxattr(marked, "user.daos", TEXT)
        wanted = Address(str(POOL), str(CONT), "/", str(marked), "POSIX")
        assert uns.resolve(str(marked)) == wanted
        assert uns.resolve(f"{marked}/a/b") == Address(
            str(POOL), str(CONT), "/a/b", str(marked), "POSIX"
        )
        (tmp_path / "link").symlink_to("marked")
        assert uns.resolve(str(tmp_path / "link" / "a")).path == "/a"
        assert uns.resolve(str(marked), reverse=False) == wanted
        with pytest.raises(NoAttributeError):
            uns.resolve(f"{marked}/a", reverse=False)

    def test_the_nearest_mark_counts(self, tmp_path: Path) -> None:
        inner = tmp_path / "outer" / "inner"
        inner.mkdir(parents=True)
        os.setxattr(inner.parent, "user.daos", TEXT.replace(b"8a05", b"0000"))
        os.setxattr(inner, "user.daos", TEXT)
        assert uns.resolve(f"{inner}/x").pool == str(POOL)
        assert uns.resolve(f"{inner.parent}/x").pool.startswith("0000")

    def test_nothing_is_marked(self, tmp_path: Path) -> None:
        with pytest.raises(NoAttributeError) as caught:
            uns.resolve(str(tmp_path / "a" / "b"))
        assert caught.value.errno == errno.ENODATA
        with pytest.raises(NoAttributeError):
            uns.resolve(str(tmp_path), check_path=False)
        with pytest.raises(InvalidError):
            uns.resolve("")

    def test_a_broken_mark_is_not_walked_past(self, tmp_path: Path) -> None:
        os.setxattr(tmp_path, "user.daos", b"DAOS.POSIX://nothing")
        with pytest.raises(InvalidError, match=r"user\.daos"):
            uns.resolve(str(tmp_path / "a"))

    def test_what_a_file_system_refuses_names_the_path(self, tmp_path: Path) -> None:
        long = tmp_path / ("x" * 300)
        with pytest.raises(DaosError, match="x" * 300) as caught:
            uns.read_mark(str(long))
        assert caught.value.errno == errno.ENAMETOOLONG
