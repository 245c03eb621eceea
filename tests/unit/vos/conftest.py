"""Fixtures that several test files of the store share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.vos.extent_array import Array, Tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    yield tree
    tree.txn.abort()
    tree.env.close()


@pytest.fixture
def array(tree: Tree) -> Array:
    """An empty array. Its neighbours in the tree must never show."""
    tree.akeys += 2
    akey_id = tree.akeys
    for neighbour in (akey_id - 1, akey_id + 1):
        other = Array(tree, neighbour)
        for epoch, width in enumerate((1, 4, 1 << 20, 1 << 40), start=2):
            other.insert(1000, 1000 + width, epoch)
            other.insert(0, width, epoch + 9)
    return Array(tree, akey_id)
