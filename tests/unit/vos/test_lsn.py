from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daos.base.ids import Lsn
from daos.vos.lsn import LsnTable

OBJECTS = [0, 1, 2**63 + 5]
DKEYS = [7, 8, 2**64 - 1]
WRITES = st.lists(st.tuples(st.sampled_from(OBJECTS), st.sampled_from([None, *DKEYS])))


@given(WRITES)
def test_answers_cover_what_they_saw(writes: list[tuple[int, int | None]]) -> None:
    table = LsnTable()
    for number, (obj, dkey) in enumerate(writes, 1):
        lsn = Lsn(number)
        if dkey is None:
            table.wrote_object(obj, lsn)
            assert all(table.of_dkey(obj, other) == lsn for other in DKEYS)
        else:
            table.wrote_dkey(obj, dkey, lsn)
            assert table.of_dkey(obj, dkey) == lsn
        assert table.of_object(obj) == lsn
        assert table.container == lsn


def test_others_do_not_wait() -> None:
    table = LsnTable()
    table.wrote_dkey(1, 7, Lsn(5))
    assert table.of_dkey(1, 8) == 0
    assert table.of_dkey(2, 7) == 0
    assert table.of_object(2) == 0
    table.wrote_object(2, Lsn(6))
    assert table.of_dkey(1, 7) == 5
    assert table.of_object(1) == 5
