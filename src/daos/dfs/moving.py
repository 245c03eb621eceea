"""Rename and exchange: each step a request that is atomic for its entry, and no step loses a file.

    1  both entries as they are; what is wrong with them is refused
    2  mark the source, and the target if there is one (`marks`): nobody else takes them away now.
       In the order of places, so that of two moves that need both one goes first
    3  both again, with extended attributes: as they are under the marks. Of a directory: see that
       none of those above its new place is being moved, perhaps into it; of two such moves each
       marks before it looks, so that at least one of them sees the other
    4  write the target: a new entry, or over the old one, so that its name is never absent; see
       that its directory is there still, which whoever removes it looks into once more, and is
       not about to be replaced, which whoever does looks into under his mark
    5  take the source away, if it is still what was copied; else copy once more
    6  drop the target's mark and what its old entry had more; give up the replaced object

A crash in between leaves marks; who meets them waits until their time is over and settles the move.
Until then a file may have two names, of which neither can be removed.

Source: ours; DAOS src/client/dfs/obj.c dfs_move_internal, which in relaxed mode removes the target
first, then inserts, then removes the source
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from daos.base.errors import (
    BusyError,
    DaosError,
    ExistsError,
    InvalidError,
    NotFoundError,
    TxUncertainError,
)
from daos.dfs import entries, marks, xattrs
from daos.dfs.entries import Found, Place
from daos.dfs.errors import IsDirectoryError, NotDirectoryError, NotEmptyError
from daos.dfs.layout import MOVE, SLINK, Kind, Mark, Role
from daos.dfs.marks import mark_of
from daos.dfs.namespace import Spot, destroy, has_entries
from daos.object.link import Call

if TYPE_CHECKING:
    from daos.base.ids import ObjectId
    from daos.dfs.mount import Mount
    from daos.dfs.node import Directory

_ATTEMPTS: Final = 64
_PAUSE_S: Final = 0.02
_EXCHANGED: Final = b".dfs-exchange-"  # and the move's token: one of two names, for a moment


async def move(
    mount: Mount, source: Spot, target: Spot, call: Call, *, may_replace: bool
) -> ObjectId | None:
    """Give an entry another name; the object of the entry that was replaced, None: there was none.

    Atomicity: the target's name is never absent; for a moment both names are there
    Raises:    NotFoundError, ExistsError (not `may_replace`), InvalidError (a directory into
               itself), NotDirectoryError, IsDirectoryError, NotEmptyError (the target),
               BusyError (others move the same names all the time), DeadlineError (somebody moves
               one of them), TxUncertainError (it took longer than a move may)
    Cost:      nine requests, eight in the root; to replace three more and those of the object; of a
               directory into another one, one for each above that
    """
    for _ in range(_ATTEMPTS):
        before = await marks.unmarked(mount, source.place, call)
        if before is None:
            raise NotFoundError(f"there is no {source.place}")
        if _same(source.place, target.place):
            return None
        old = await marks.unmarked(mount, target.place, call)
        await _check(mount, before, target, old, call, may_replace=may_replace)
        attempt = _Move(mount, source.place, target, call)
        if await attempt.run(before, old):
            return None if old is None else old.entry.oid
        for place in attempt.met:
            await asyncio.sleep(mount.jitter() * _PAUSE_S)  # so that two don't meet for ever
            await marks.unmarked(mount, place, call)
    raise BusyError(f"{source.place} and {target.place} are moved by others all the time")


async def exchange(mount: Mount, one: Spot, other: Spot, call: Call) -> None:
    """Give two entries each other's name.

    Atomicity: none: three moves, the first of which gives one of them a name that begins with
               .dfs-exchange-; it still has that after a crash, or if somebody makes its old name
               anew meanwhile
    Raises:    NotFoundError (one of them), ExistsError (its name was made anew), InvalidError (a
               directory into itself), as move
    Cost:      three moves
    """
    for at, into in ((one, other), (other, one)):
        found = await marks.unmarked(mount, at.place, call)
        if found is None:
            raise NotFoundError(f"there is no {at.place}")
        _check_outside(found, into.directory)
    if _same(one.place, other.place):
        return
    aside = Spot(one.directory, one.directory.at(_EXCHANGED + mount.new_token().hex().encode()))
    await move(mount, one, aside, call, may_replace=False)
    try:
        try:
            await move(mount, other, one, call, may_replace=False)
        except NotFoundError:
            await move(mount, aside, one, call, may_replace=False)
            raise
        await move(mount, aside, other, call, may_replace=False)
    except ExistsError as error:
        raise ExistsError(f"{error.message}: what was {one.place} is {aside.place} now") from None


class _Move:
    """One attempt, from the marks on."""

    def __init__(self, mount: Mount, source: Place, target: Spot, call: Call) -> None:
        self.mount = mount
        self.source = source
        self.directory, self.target = target
        self.token = mount.new_token()
        until_ns = min(call.deadline_ns, mount.clock.now_ns() + marks.LEASE_NS)
        # Nothing that we send is executed after the marks' time.
        self.call = Call(until_ns, call.trace_id)
        self.marked: list[Place] = []
        self.met: list[Place] = []  # directories whose own move is to be waited for
        self.stale: set[bytes] = {MOVE}  # akeys of the target that go at the end

    async def run(self, before: Found, old: Found | None) -> bool:
        """Whether it was made; False: others came in between, nothing has changed."""
        if not await self._put_marks(before, old):
            return False
        try:
            found = await self._copy(before, old)
        except DaosError as error:
            # Unless it may have been written, there is nothing that anybody would have to wait for.
            if not isinstance(error, TxUncertainError):
                with suppress(DaosError):
                    await self._unmark()
            raise
        if found is None:
            await self._unmark()
            return False
        if old is None and not await self._is_linked():
            return False
        await self._take_away(found)
        await entries.drop(self.target, self.stale, self.call)
        if old is not None:
            await destroy(self.mount, old.entry, self.call)
        return True

    async def _copy(self, before: Found, old: Found | None) -> Found | None:
        """Write the target; the source as it was written, None: others came in between."""
        found = await self._held(self.source, before)
        if (
            found is None
            or (old is not None and not await self._is_replaceable(old))
            or not await self._is_outside(found)
            or not await self._write(found, over=old is not None)
        ):
            return None
        return found

    async def _put_marks(self, before: Found, old: Found | None) -> bool:
        wanted = [(self.source, before, Role.SOURCE)]
        if old is not None:
            wanted.append((self.target, old, Role.DESTINATION))
        for place, found, role in sorted(wanted, key=lambda each: _order(each[0])):
            if not await marks.put(place, self._mark(role), found, self.call):
                await self._unmark()
                return False
            self.marked.append(place)
        return True

    async def _is_replaceable(self, old: Found) -> bool:
        """Whether the target, under our mark, is still what was checked."""
        if await self._held(self.target, old) is None or (
            old.entry.kind is Kind.DIRECTORY
            and await has_entries(self.mount.io(old.entry.oid), self.call)
        ):
            return False
        self.stale |= {SLINK, *await xattrs.akeys(self.target, self.call)}
        return True

    async def _held(self, place: Place, before: Found) -> Found | None:
        """The entry under our mark, if it is the object's that it was before."""
        found = await marks.fetch(place, self.call)
        if found is None or not self._is_ours(found) or found.entry.oid != before.entry.oid:
            return None
        return found

    async def _write(self, found: Found, *, over: bool) -> bool:
        """Copy the source's entry to the target; False: there is another one."""
        values = {
            **await xattrs.values(self.source, self.call),
            MOVE: self._mark(Role.DESTINATION).emit(),
        }
        entry = replace(found.entry, ctime_ns=self.mount.now_ns())
        new = replace(found, entry=entry, values=values)
        self.stale -= {*values, *((SLINK,) if entry.kind is Kind.SYMLINK else ())} - {MOVE}
        try:
            await entries.insert(self.target, new, self.call, over=MOVE if over else b"")
        except (ExistsError, NotFoundError):
            return False
        return True

    async def _is_outside(self, found: Found) -> bool:
        """Whether no directory above the target is being moved: it could be into what we move.

        Raises: NotFoundError (one is not where it was opened; so it may be in there already)
        """
        if found.entry.kind is not Kind.DIRECTORY or self.source.io.oid == self.target.io.oid:
            return True
        above = self.directory
        while above.parent is not None:
            there = await marks.fetch(above.place, self.call)
            if there is None or there.entry.oid != above.oid:
                raise _gone(above)
            if mark_of(there) is not None:
                self.met.append(above.place)
                return False
            above = above.parent
        return True

    async def _is_linked(self) -> bool:
        """Whether what was written has a way to it; else it is taken back.

        Raises: NotFoundError (its directory was removed)
        """
        directory = self.directory
        if directory.parent is None:
            return True
        above = await marks.fetch(directory.place, self.call)
        there = above is not None and above.entry.oid == directory.oid
        mark = mark_of(above) if above is not None else None
        if there and (mark is None or mark.role is Role.SOURCE):
            return True
        written = await marks.fetch(self.target, self.call)
        if written is not None and self._is_ours(written):
            await entries.punch(self.target, self.call, unchanged_since=written.epoch)
        await self._unmark()
        if not there:
            raise _gone(directory)
        self.met.append(directory.place)
        return False

    async def _take_away(self, found: Found) -> None:
        """Punch the source, if it is what was copied; else copy once more.

        Raises: TxUncertainError (our marks are not there any more: their time is over)
        """
        for _ in range(_ATTEMPTS):
            try:
                if await entries.punch(self.source, self.call, unchanged_since=found.epoch):
                    return
            except NotFoundError:
                break
            self.stale |= found.values.keys() | set(await xattrs.akeys(self.target, self.call))
            again = await self._held(self.source, found)
            if again is None or not await self._write(again, over=True):
                break
            found = again
        raise TxUncertainError(f"what became of {self.source} is not known: look for both names")

    async def _unmark(self) -> None:
        """Take our marks away again; within their time nobody else does."""
        for place in self.marked:
            found = await marks.fetch(place, self.call)
            if found is not None and self._is_ours(found):
                await entries.drop(place, (MOVE,), self.call, unchanged_since=found.epoch)

    def _is_ours(self, found: Found) -> bool:
        mark = mark_of(found)
        return mark is not None and mark.token == self.token

    def _mark(self, role: Role) -> Mark:
        there = self.target if role is Role.SOURCE else self.source
        return Mark(
            role=role,
            token=self.token,
            until_ns=self.call.deadline_ns,
            directory=there.io.oid,
            name=there.name,
        )


async def _check(
    mount: Mount,
    before: Found,
    target: Spot,
    old: Found | None,
    call: Call,
    *,
    may_replace: bool,
) -> None:
    _check_outside(before, target.directory)
    if old is None:
        return
    if not may_replace:
        raise ExistsError(f"{target.place} exists")
    is_directory = before.entry.kind is Kind.DIRECTORY
    if old.entry.kind is not Kind.DIRECTORY:
        if is_directory:
            raise NotDirectoryError(f"{target.place} is no directory")
        return
    if not is_directory:
        raise IsDirectoryError(f"{target.place} is a directory")
    if await has_entries(mount.io(old.entry.oid), call):
        raise NotEmptyError(f"{target.place} is not empty")


def _gone(directory: Directory) -> NotFoundError:
    return NotFoundError(f"{directory.name!r} was removed, or moved, meanwhile")


def _check_outside(found: Found, directory: Directory) -> None:
    """Raises: InvalidError"""
    above: Directory | None = directory
    while above is not None:
        if above.oid == found.entry.oid:
            raise InvalidError(f"{above!r} can't be moved into itself")
        above = above.parent


def _order(place: Place) -> tuple[ObjectId, bytes]:
    return place.io.oid, place.name


def _same(one: Place, other: Place) -> bool:
    return _order(one) == _order(other)
