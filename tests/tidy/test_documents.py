"""The rules for texts bite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tidy import documents

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text",
    [
        "# TODO later",
        "a FIXME here",
        "XXX",
        "see /work/main/x",
        'path = "/root/.cache"',
        "see issue 12",
        "fixes #3",
        "look at contract.md",
        "in ../shared/design",
    ],
)
def test_banned_words(text: str) -> None:
    (got,) = documents.banned_words({"docs/a.md": f"first line\n{text}\n"})
    assert got.startswith("docs/a.md:2: ")


@pytest.mark.parametrize(
    "text",
    ["a method", "network/root of the tree", "pool/work/x", "TODOS", "the issue is", "./work"],
)
def test_innocent_words(text: str) -> None:
    assert not list(documents.banned_words({"docs/a.md": text}))


def test_package_readmes() -> None:
    texts = {
        "src/daos/bio/a.py": "x = 1\n",
        "src/daos/vos/a.py": "x = 1\n",
        "src/daos/vos/README.md": "line\n" * 151,
        "src/daos/cart/transport/a.py": "x = 1\n",
        "src/daos/cart/README.md": "short\n",
        "src/daos/pool/__init__.py": "\n",
        "src/daos/__init__.py": "x = 1\n",
    }
    got = list(documents.package_readmes(texts))
    assert len(got) == 2
    assert got[0].startswith("src/daos/bio/README.md: missing")
    assert got[1].startswith("src/daos/vos/README.md: 151 lines")


def test_format_pages() -> None:
    texts = {"docs/format/a.md": "", "docs/format/b.md": ""}
    assert not list(documents.format_pages(texts))
    texts["docs/format/README.md"] = "[A](a.md)\n"
    assert list(documents.format_pages(texts)) == [
        "docs/format/b.md: not linked from docs/format/README.md"
    ]


def test_dead_links(tmp_path: Path) -> None:
    (tmp_path / "there.md").touch()
    fence = "```\n[d](not.md)\n```\n"
    text = f"[a](there.md#part) [b](https://example.org) [c](#here)\n{fence}[e](gone.md)\n"
    (got,) = documents.dead_links({"README.md": text}, tmp_path)
    assert got == "README.md:5: link to gone.md, which does not exist"
