"""Marks of moves that are under way, and what becomes of those whose mover is gone.

A move marks both its entries, each by the akey DFS_MOVE, on condition that there is none. As long
as a mark stands, nobody else takes its entry away or moves it: who removes or moves an entry sees
the mark in what it fetched, and what was fetched is compared when the entry is taken away.

A mark has an end (`until_ns`), later than which its mover does nothing more: its requests have that
deadline, and targets refuse what comes later. Who meets a mark waits for it, and when its time is
over by more than clocks may differ, settles what was left:

    both entries have the mark, and name one object     the move was made: the source goes
    otherwise                                           it was not, or is over: the mark goes

Source: ours; the reference uses a distributed transaction, or takes what comes
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from daos.base.errors import DeadlineError, ExistsError, NotFoundError
from daos.base.hlc import EPSILON_NS
from daos.base.iod import Cond
from daos.dfs import entries
from daos.dfs.entries import Found, Place
from daos.dfs.layout import MOVE, Mark, Role

if TYPE_CHECKING:
    from daos.client.session import Call
    from daos.dfs.mount import Mount

# A move takes some milliseconds; a mark that stays is nearly always a crash's.
LEASE_NS: Final = 10_000_000_000
_PAUSE_S: Final = 0.002
_PAUSE_MAX_S: Final = 0.256
_NEW: Final = int(Cond.AKEY_INSERT)


def mark_of(found: Found) -> Mark | None:
    """The mark of an entry that was fetched with akey DFS_MOVE. Raises: CorruptError."""
    raw = found.values.get(MOVE)
    return None if raw is None else Mark.parse(raw)


async def fetch(place: Place, call: Call) -> Found | None:
    """The entry, with its mark if it has one."""
    return await entries.fetch(place, call, (MOVE,))


async def put(place: Place, mark: Mark, found: Found, call: Call) -> bool:
    """Mark an entry; False: it is gone, or somebody else has marked it. Cost: one request."""
    values = {MOVE: (mark.emit(), _NEW)}
    try:
        await entries.change(place, found.entry, set(), call, values=values)
    except (ExistsError, NotFoundError):
        return False
    return True


async def unmarked(mount: Mount, place: Place, call: Call) -> Found | None:
    """The entry of a place when nobody moves it; None: there is none.

    Raises: DeadlineError (somebody moves it, or did and is gone, and the deadline comes first)
    Cost:   one request, while there is no mark
    """
    pause_s = _PAUSE_S
    waited: tuple[bytes, int] | None = None  # for whom, since when
    while True:
        found = await fetch(place, call)
        mark = None if found is None else mark_of(found)
        if found is None or mark is None:
            return found
        now_ns = mount.clock.now_ns()
        if waited is None or waited[0] != mark.token:
            waited = mark.token, now_ns
        # A clock that is far ahead of ours does not make us wait for longer than a move may take.
        if now_ns > min(mark.until_ns, waited[1] + LEASE_NS) + EPSILON_NS:
            await _settle(mount, place, found, mark, call)
        elif now_ns + int(pause_s * 1e9) >= call.deadline_ns:
            raise DeadlineError(f"{place} is being moved, or its mover has died; come again later")
        else:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)


async def _settle(mount: Mount, place: Place, found: Found, mark: Mark, call: Call) -> None:
    """End the move of a mover that is gone, or a part of it; who comes between decides instead."""
    there = Place(mount.io(mark.directory), mark.name)
    other = await fetch(there, call)
    same = other is not None and mark_of(other)
    if other and same and same.token == mark.token and other.entry.oid == found.entry.oid:
        source, seen = (place, found) if mark.role is Role.SOURCE else (there, other)
        try:
            await entries.punch(source, call, unchanged_since=seen.epoch)
        except NotFoundError:
            return
        return  # the destination's mark has no effect any more: it goes when it is met
    await entries.drop(place, (MOVE,), call, unchanged_since=found.epoch)
