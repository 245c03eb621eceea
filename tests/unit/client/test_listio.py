"""Many values and ranges in the descriptors of one request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError
from daos.base.iod import IodType, Recx
from daos.client.landing import Slot
from daos.client.listio import FetchPlan
from daos.client.values import Extents, Range, array_iod
from daos.object.core import RECXS_MAX

asked = st.lists(
    st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 40), st.integers(0, 9)), max_size=30
)


@given(asked)
def test_each_thing_has_a_place_of_its_own(things: list[tuple[bytes, int, int]]) -> None:
    """Ranges of one descriptor ascend and do not overlap; no count: a single value."""
    plan = FetchPlan()
    for akey, offset, count in things:
        if count:
            plan.add_range(akey, Range(akey, offset, count))
        else:
            plan.add_value(akey)
    iods, slots = plan.request({b"a": 0x40})
    assert len(slots) == len(set(slots)) == len(things)
    for (akey, offset, count), (iod, recx, records) in zip(things, slots, strict=True):
        assert iods[iod].akey == akey
        assert iods[iod].cond == (0x40 if akey == b"a" else 0)
        assert records == count
        if count:
            assert iods[iod].recxs[recx] == Recx(offset, count)
        else:
            assert iods[iod].type is IodType.SINGLE
    for each in iods:
        for before, after in zip(each.recxs, each.recxs[1:], strict=False):
            assert before.end <= after.index
    deepest = max(
        (
            sum(o <= at < o + c for a, o, c in things if a == akey)
            for akey in (b"a", b"b")
            for at in range(50)
        ),
        default=0,
    )
    assert sum(bool(each.recxs) for each in iods) <= 2 * deepest


def test_more_than_one_descriptor_takes() -> None:
    plan = FetchPlan()
    for number in range(RECXS_MAX + 5):
        plan.add_range(b"a", Range(b"a", 2 * number, 1))
    iods, slots = plan.request({})
    assert [len(iod.recxs) for iod in iods] == [RECXS_MAX, 5]
    assert slots[-1] == Slot(1, 4, 1)


def test_descriptors_of_an_update() -> None:
    iod, views = array_iod(b"a", Extents(2, [(5, b"abcd"), (9, b""), (0, b"ef")]))
    assert iod.recxs == (Recx(5, 2), Recx(0, 1))
    assert [bytes(view) for view in views] == [b"abcd", b"ef"]
    with pytest.raises(InvalidError, match="whole number"):
        array_iod(b"a", Extents(2, [(0, b"abc")]))
    for bad in (Range(b"a", 0, 0), Range(b"a", -1, 5)):
        with pytest.raises(InvalidError):
            FetchPlan().add_range(b"a", bad)
