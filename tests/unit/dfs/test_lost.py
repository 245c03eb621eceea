"""Which of the objects without a name get one."""

from __future__ import annotations

import itertools

import pytest

from daos.base.ids import ObjectId
from daos.dfs.lost import tops

GRAPHS = {
    "a tree": ({"a": "bf", "b": "cg", "c": ""}, 1),
    "two trees": ({"a": "b", "b": "", "c": "f"}, 2),
    "a ring": ({"a": "b", "b": "c", "c": "af"}, 1),
    "itself": ({"a": "a"}, 1),
    "below a ring": ({"a": "b", "b": "ac", "c": "d", "d": "f"}, 1),
    "a ring below a tree": ({"a": "b", "b": "c", "c": "b"}, 1),
    "a ring below a ring": ({"a": "b", "b": "ac", "c": "d", "d": "c"}, 1),
    "files alone": ({}, 2),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_all_are_led_to_by_the_fewest_in_whatever_order(name: str) -> None:
    graph, count = GRAPHS[name]
    letters = sorted({*graph, *"".join(graph.values())} or {"f", "g"})
    for order in itertools.permutations(range(len(letters))):
        ids = {letter: ObjectId(0, order[at]) for at, letter in enumerate(letters)}
        inside = {ids[each]: {ids[one] for one in graph[each]} for each in graph}
        inside = dict(sorted(inside.items()))
        found = tops(sorted(ids.values()), inside)
        assert len(found) == count
        led, left = set(found), list(found)
        while left:
            new = set(inside.get(left.pop(), ())) - led
            led |= new
            left += new
        assert led == set(ids.values())
