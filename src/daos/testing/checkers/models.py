"""What one key is, said as simply as possible: states, and what a call does to them.

    value      a key of a key-value object: bytes, or nothing
    several    akeys below one dkey, changed together or not at all
    cells      one chunk of an array: a byte for each cell

Each `…_step(state, call)` gives the state after the call, or None where that state can't answer
what was answered. A call whose outcome is unknown has the answer UNKNOWN, which every state gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

OK: Final = "ok"
EXISTS: Final = "exists"
MISSING: Final = "missing"
NO_SPACE: Final = "no space"  # nothing was changed: no model has to hear of it
UNKNOWN: Final = "unknown"


class ValueCall(NamedTuple):
    """put, insert, update, remove, take (remove if there), get; `answer` of get: the value."""

    kind: str
    value: bytes | None
    answer: object


def value_step(state: bytes | None, call: ValueCall) -> tuple[bytes | None] | None:
    """One key of a key-value object."""
    kind, value, answer = call
    if kind == "get":
        return (state,) if answer == state else None
    refused = ""
    if kind == "insert" and state is not None:
        refused = EXISTS
    elif kind in ("update", "take") and state is None:
        refused = MISSING
    if answer not in (UNKNOWN, refused or OK):
        return None
    if refused:
        return (state,)
    return (None if kind in ("remove", "take") else value,)


class SeveralCall(NamedTuple):
    """change: `values` by akey (None punches it); get: `answer` by akey, or UNKNOWN."""

    kind: str
    values: tuple[tuple[bytes, bytes | None], ...]
    answer: object


Several = tuple[tuple[bytes, bytes | None], ...]


def several_step(state: Several, call: SeveralCall) -> tuple[Several] | None:
    """Several akeys of one dkey, by name."""
    if call.kind == "get":
        return (state,) if call.answer == state else None
    changed: Mapping[bytes, bytes | None] = dict(call.values)
    return (tuple((akey, changed.get(akey, value)) for akey, value in state),)


class CellsCall(NamedTuple):
    """write: `data` at `lo`; get: `answer` is the content of [lo, lo + len(answer))."""

    kind: str
    lo: int
    data: bytes
    answer: object


def cells_step(state: bytes, call: CellsCall) -> tuple[bytes] | None:
    """One chunk; holes are zeros."""
    if call.kind == "get":
        assert isinstance(call.answer, bytes)
        return (state,) if state[call.lo : call.lo + len(call.answer)] == call.answer else None
    return (state[: call.lo] + call.data + state[call.lo + len(call.data) :],)
