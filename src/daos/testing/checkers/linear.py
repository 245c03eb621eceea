"""Linearizability of one key: is there an order of all calls that explains every answer?

    real time   call A |------------|
                call B        |----------|        each took effect at one moment
                call C                      |--|  between its two ends

A call whose outcome nobody knows may have taken effect at any moment after it began, or never.
Some calls tell where in the order they are: by epochs, as those do who were acknowledged.
The search tries, again and again, each call that may come first, and remembers which sets of calls
have led to which state already. A pure call that fits is taken at once.

Cost: with few calls at the same time about O(calls²); in the worst case exponential, therefore
bounded: more than STATES_MAX states is `Undecided`, which a caller treats as a fault of its
workload.

Source: Wing and Gong, "Testing and Verifying Concurrent Objects", 1993; the memo: Lowe, 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

STATES_MAX: Final = 400_000
NEVER: Final = 1 << 62

StateT = TypeVar("StateT", bound=Hashable)
CallT = TypeVar("CallT")

# Gives the state after a call, or None if its answer can't be explained from this state.
Step = Callable[[StateT, CallT], "tuple[StateT] | None"]


class UndecidedError(Exception):
    """The history has too many calls at the same time to be judged."""


@dataclass(frozen=True, slots=True)
class Interval(Generic[CallT]):
    """A call between two moments.

    `unknown`: its outcome is, and `end` says nothing. `pure`: it never changes anything. Those with
    a `rank`, all known, come in its order.
    """

    call: CallT
    begin: int
    end: int
    unknown: bool = False
    pure: bool = False
    rank: int = 0  # 0: none


def explain(
    intervals: Sequence[Interval[CallT]],
    initial: StateT,
    step: Step[StateT, CallT],
) -> list[CallT] | None:
    """An order of the calls that explains every answer, unknown ones that did nothing left out.

    None: there is no such order. Raises: UndecidedError
    """
    # Known calls first, by their ends; unknown ones, which may wait for ever, last.
    calls = sorted(intervals, key=lambda each: (each.unknown, each.end, each.begin))
    ends = [NEVER if each.unknown else each.end for each in calls]
    needed = sum(1 << index for index, each in enumerate(calls) if not each.unknown)
    # What has to come first, of each.
    lower = [
        sum(1 << at for at, other in enumerate(calls) if 0 < other.rank < each.rank)
        for each in calls
    ]
    seen: set[tuple[int, StateT]] = {(0, initial)}
    # Depth first: (calls done, state, the order that led here).
    stack: list[tuple[int, StateT, tuple[int, ...]]] = [(0, initial, ())]
    while stack:
        done, state, order = stack.pop()
        if done & needed == needed:
            return [calls[index].call for index in order]
        # Whoever has begun before the first end among those left may come next.
        bound = min(end for index, end in enumerate(ends) if not done >> index & 1)
        branches: list[tuple[int, StateT, tuple[int, ...]]] = []
        for index, each in enumerate(calls):
            if done >> index & 1 or each.begin > bound or lower[index] & ~done:
                continue
            after = step(state, each.call)
            if after is None:
                continue
            branch = (done | 1 << index, after[0], (*order, index))
            if each.pure:  # it fits now: to wait with it can only make things worse
                branches = [branch]
                break
            if not each.unknown or after[0] != state:  # else as if it had never happened
                branches.append(branch)
        for branch in reversed(branches):
            if branch[:2] not in seen:
                seen.add(branch[:2])
                stack.append(branch)
        if len(seen) > STATES_MAX:
            raise UndecidedError(f"{len(calls)} calls, more than {STATES_MAX} states")
    return None
