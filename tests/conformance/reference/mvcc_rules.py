"""What two operations on one path must make of each other: the oracle of VOS900 and VOS901.

Written from the text of the reference's list of scenarios (§9.1, §3.2, §3.3 of its page) and from
nothing else: this module imports nothing of the store, keeps no timestamps, and looks at the two
epochs only. A path is container, object, dkey, akey: levels 0 to 3. It is *empty*, or it was
written once, a value of one akey, before the operations come.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONTAINER, OBJECT, DKEY, AKEY = range(4)
OK: Final = "OK"
EXIST: Final = "EXIST"
NONEXIST: Final = "NONEXIST"
RESTART: Final = "TX_RESTART"

IF_EMPTY: Final = "if empty"
IF_NOT: Final = "if not empty"
ANYHOW: Final = ""


class Op(NamedTuple):
    """An operation of the table: what it reads, what it writes (None: nothing), its condition."""

    name: str
    reads: int | None
    writes: int | None
    cond: str = ANYHOW
    makes_empty: bool = False  # of those that write: a punch
    ends: tuple[str, ...] = ("",)  # of queries: both ends

    @property
    def is_read(self) -> bool:
        return self.writes is None

    @property
    def is_read_write(self) -> bool:
        return self.reads is not None and self.writes is not None


_BOTH: Final = ("max", "min")
READS: Final = (
    Op("fetch", AKEY, None),
    Op("fetch_dne", AKEY, None, IF_NOT),
    Op("fetch_ane", AKEY, None, IF_NOT),
    Op("list_objects", CONTAINER, None),
    Op("list_dkeys", OBJECT, None),
    Op("list_akeys", DKEY, None),
    Op("list_recxs", AKEY, None),
    Op("query_d", OBJECT, None, IF_NOT, ends=_BOTH),
    Op("query_a", DKEY, None, IF_NOT, ends=_BOTH),
    Op("query_recx", AKEY, None, IF_NOT, ends=_BOTH),
    Op("query_d_a", OBJECT, None, IF_NOT, ends=_BOTH),
    Op("query_d_recx", OBJECT, None, IF_NOT, ends=_BOTH),
    Op("query_a_recx", DKEY, None, IF_NOT, ends=_BOTH),
    Op("query_d_a_recx", OBJECT, None, IF_NOT, ends=_BOTH),
)
# They leave a timestamp and look at nothing.
TIMESTAMPS: Final = (
    Op("touch_o", OBJECT, None),
    Op("touch_d", DKEY, None),
    Op("touch_a", AKEY, None),
)
READ_WRITES: Final = (
    Op("update_de", DKEY, AKEY, IF_EMPTY),
    Op("update_dne", DKEY, AKEY, IF_NOT),
    Op("update_ae", AKEY, AKEY, IF_EMPTY),
    Op("update_ane", AKEY, AKEY, IF_NOT),
    Op("punch_one", OBJECT, OBJECT, IF_NOT, makes_empty=True),
    Op("punch_dne", DKEY, DKEY, IF_NOT, makes_empty=True),
    Op("punch_ane", AKEY, AKEY, IF_NOT, makes_empty=True),
)
WRITES: Final = (
    Op("update", None, AKEY),
    Op("punch_o", None, OBJECT, makes_empty=True),
    Op("punch_d", None, DKEY, makes_empty=True),
    Op("punch_a", None, AKEY, makes_empty=True),
)


def alone(op: Op, *, empty: bool) -> str:
    """What comes of it where nobody else is."""
    if op.cond == IF_EMPTY and not empty:
        return EXIST
    if op.cond == IF_NOT and empty:
        return NONEXIST
    return OK


def after_read(
    r: Op, w: Op, *, empty: bool, r_epoch: int, w_epoch: int, same_tx: bool
) -> tuple[str, str]:
    """VOS900: `r` first, at its epoch, then `w`, at its own. What comes of each."""
    first = alone(r, empty=empty)
    if r_epoch > w_epoch:
        found_empty = True  # whatever there is was written later
    elif r.is_read_write and first == OK:
        found_empty = r.makes_empty
    else:
        found_empty = empty
    second = alone(w, empty=found_empty)
    if second == OK and (r_epoch > w_epoch or (r_epoch == w_epoch and not same_tx)):
        second = RESTART
    return first, second


def hangs_on_propagation(r: Op, w: Op, *, empty: bool, r_epoch: int, w_epoch: int) -> bool:
    """Left out of VOS900 unless the punch of the last dkey punches its object, which is off."""
    return (
        r.name in ("punch_dne", "punch_ane")
        and w.name == "punch_one"
        and not empty
        and w_epoch >= r_epoch
    )


def in_doubt(w: Op, a: Op, *, empty: bool, w_epoch: int, bound: int) -> str:
    """VOS901: `w` was written at its epoch, now `a` comes at an earlier one, sure up to `bound`.

    Where the reference tolerates a restart, because `w` punches and its search for other keys is a
    read, this is exact: a punch of an akey reads the dkey; one of the last akey punches it.
    """
    if w_epoch <= bound:
        return RESTART
    result = alone(a, empty=empty)
    if result != OK or a.writes is None:
        return result
    if w.name == "punch_a":
        return RESTART
    assert w.writes is not None
    reach = DKEY if a.writes == AKEY and not empty else a.writes
    if a.makes_empty and reach <= w.writes:
        return RESTART
    return OK
