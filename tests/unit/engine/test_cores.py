"""Cores of a rank's processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.base.errors import InvalidError
from daos.engine.cores import of_node, parse_list, plan


def test_each_has_a_core_and_helpers_are_shared_out() -> None:
    found = plan(range(8), first=1, targets=3, helpers=2)
    assert found.system == {1}
    assert found.targets == ({2, 3}, {4, 5}, {6})
    assert found.of_target(2) == {6}
    assert found.why_not == ""


def test_none_is_bound_where_there_are_too_few() -> None:
    found = plan(range(4), first=1, targets=3, helpers=0)
    assert (found.system, found.of_target(0)) == (None, None)
    assert found.why_not.startswith("3 targets with 0 helpers need 4 cores of their own")


def test_engines_of_a_host_do_not_meet() -> None:
    one, two, three = (
        plan(range(7), first=None, instance=number, targets=2, helpers=0) for number in range(3)
    )
    assert (one.system, one.targets) == ({0}, ({1}, {2}))
    assert (two.system, two.targets) == ({3}, ({4}, {5}))
    assert three.why_not.endswith("from number 6 there are 1: none is bound")
    assert plan(range(7), first=4, instance=2, targets=2, helpers=0).system == {4}


def test_there_is_no_such_core() -> None:
    with pytest.raises(InvalidError, match="first core 4: there are 4 cores"):
        plan(range(4), first=4, targets=1, helpers=0)


def test_cores_of_a_node(tmp_path: Path) -> None:
    (tmp_path / "node1").mkdir()
    (tmp_path / "node1" / "cpulist").write_text("2-4,9\n")
    assert of_node(1, [0, 3, 4, 5], tmp_path) == [3, 4]
    with pytest.raises(InvalidError, match="no NUMA node 0"):
        of_node(0, [0], tmp_path)
    with pytest.raises(InvalidError, match="node 1 has no core that"):
        of_node(1, [0, 1], tmp_path)


@pytest.mark.parametrize(
    ("text", "cores"), [("", set()), ("0", {0}), ("0-2", {0, 1, 2}), ("0-1,7\n", {0, 1, 7})]
)
def test_lists_of_the_kernel(text: str, cores: set[int]) -> None:
    assert parse_list(text) == cores
