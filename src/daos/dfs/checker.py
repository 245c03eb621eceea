"""Finding what a file system has besides its tree, and what of the tree is damaged.

    container open "ex" -> every entry is looked at, every object that is named remembered
                        -> every object that is stored is asked for among those
                        -> told; with Repair.REMOVE taken away, with RELINK given a name

What crashes leave (README.md): objects without a name; marks of moves, perhaps with two names of a
file. What bugs and bad disks leave: entries that can't be read, two names without marks.

Invariants:
    C1  without REMOVE or RELINK nothing is changed
    C2  nobody else has the container open from the first look to the last change
    C3  nothing that has a name is removed but the second, marked name of a file
    C4  nothing is removed while a part of the tree can't be read: it may name what seems nameless
    C5  what REMOVE or RELINK has done is complete: a second run finds nothing of it

Source: DAOS src/client/dfs/cont.c dfs_cont_check. Ours: marks, damage, second names; C3, C4
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag
from functools import partial
from typing import TYPE_CHECKING, Final

from daos.base.errors import DER, DaosError, InvalidError, NotFoundError
from daos.base.ids import ObjectId
from daos.client.append import array_of
from daos.client.execute import execute
from daos.dfs import entries, lost, marks
from daos.dfs.crew import Crew
from daos.dfs.mount import Mount
from daos.dfs.survey import NO_CLASS, UNREADABLE, WORKERS, Name, Survey, Surveyor, number_of

if TYPE_CHECKING:
    from daos.client.container import Container

_SHOWN: Final = 3  # files, in an error


class Repair(Flag):
    """What is done besides looking."""

    NONE = 0
    REMOVE = 2  # objects without a name are removed
    RELINK = 4  # they get names in /lost+found
    VERIFY = 8  # all content is read, so that its checksums are checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found, and did."""

    files: int
    symlinks: int
    directories: int
    leaked: tuple[ObjectId, ...]  # objects without a name, ascending; appenders' claims not counted
    moves: int  # names that a mover that died left marked
    damaged: tuple[tuple[str, str], ...]  # path, how
    marked_ns: int  # how long looking at the tree took
    removed: int = 0  # of the leaked
    relinked: int = 0  # of the leaked, those that got a name; what they name has one as well
    below: str = ""  # the directory where
    nbytes: int = 0  # that were verified

    @property
    def entries(self) -> int:
        """Of every type, without the root."""
        return self.files + self.symlinks + self.directories

    @property
    def clean(self) -> bool:
        """Whether there was nothing to tell."""
        return not (self.leaked or self.moves or self.damaged)


async def check(
    container: Container,
    repair: Repair = Repair.NONE,
    dir_name: str | None = None,
    *,
    report: Callable[[Survey], None] | None = None,
) -> Checked:
    """Check the file system of a container that is open "ex".

    `dir_name`: what RELINK makes in /lost+found, by default the time.

    Raises: InvalidError (both REMOVE and RELINK; not open "ex"; a name that is none), ExistsError
            (/lost+found has `dir_name`), NotFoundError (no superblock or root), DaosError IO (what
            can't be read, by VERIFY; REMOVE while a part of the tree can't be: nothing is changed)
    Cost:   a request an entry, and those of listing all directories and objects; 48 at once
    """
    if Repair.REMOVE in repair and Repair.RELINK in repair:
        raise InvalidError("what has no name is either removed or relinked, not both")
    if not container.exclusive:
        raise InvalidError(f'{container}: a check needs it alone, open it with flags "ex"')
    mount = await Mount.open(container)
    if Repair.RELINK in repair:
        dir_name = await lost.check_name(mount, dir_name)
    checking = _Check(mount, repair, report)
    return await checking.run(dir_name or "")


class _Check:
    def __init__(
        self, mount: Mount, repair: Repair, report: Callable[[Survey], None] | None
    ) -> None:
        self._mount = mount
        self._repair = repair
        verify = Repair.VERIFY in repair
        self._surveyor = Surveyor(mount, verify=verify, report=report)
        self._found = self._surveyor.found

    async def run(self, dir_name: str) -> Checked:
        mount, repair, found = self._mount, self._repair, self._found
        began_ns = mount.clock.monotonic_ns()
        for oid in (mount.root.parent_oid, mount.root.oid):
            self._surveyor.mark(oid)
        await self._surveyor.run(mount.root)
        marked_ns = mount.clock.monotonic_ns() - began_ns
        files, symlinks, directories = found.files, found.symlinks, found.directories
        self._check_readable()
        leaked, claims = await self._nameless()
        removed = relinked = 0
        if Repair.REMOVE in repair:
            self._check_removable(leaked)
            await self._remove([*leaked, *claims])
            removed = len(leaked)
        elif Repair.RELINK in repair and (tops := await lost.tops_of(mount, leaked)):
            directory = await lost.relink(mount, tops, dir_name)
            relinked = len(tops)
            await self._surveyor.run(directory, f"{lost.PATH}/{dir_name}")
            self._check_readable()
        names = await self._names()
        if repair & (Repair.REMOVE | Repair.RELINK):
            for name in found.marked:
                await self._settle(name, names.get(number_of(name.oid), ()))
        await self._tell_doubled(names)
        return Checked(
            files=files,
            symlinks=symlinks,
            directories=directories,
            leaked=tuple(leaked),
            moves=len(found.marked),
            damaged=tuple(sorted(found.damaged)),
            marked_ns=marked_ns,
            removed=removed,
            relinked=relinked,
            below=f"{lost.PATH}/{dir_name}" if relinked else "",
            nbytes=found.nbytes,
        )

    async def _nameless(self) -> tuple[list[ObjectId], list[ObjectId]]:
        """Objects without a name; the claims on those of them that are files."""
        named = self._found.named
        leaked, claims = [], []
        async for oid in self._mount.container.objects():
            array = array_of(oid)
            if array is not None and number_of(array) not in named:
                claims.append((oid, array))
            elif array is None and number_of(oid) not in named:
                leaked.append(oid)
        files = set(leaked)
        alone = [oid for oid, array in claims if array not in files]
        return sorted(leaked + alone), [oid for oid, array in claims if array in files]

    async def _names(self) -> Mapping[int, Sequence[Name]]:
        """All names of objects that have more than one. Cost: another walk, if there are any."""
        twice = self._found.twice
        if not twice:
            return {}
        again = Surveyor(self._mount, wanted=twice)
        await again.run(self._mount.root)
        return again.found.names

    async def _remove(self, oids: Sequence[ObjectId]) -> None:
        crew = Crew(WORKERS)
        for oid in oids:
            crew.add(partial(self._punch, oid))
        await crew.run()

    async def _punch(self, oid: ObjectId) -> None:
        with self._mount._operation(None, write=True) as call:
            await execute(self._mount.io(oid).punch_all(call=call))

    async def _settle(self, name: Name, names: Sequence[Name]) -> None:
        """End a move whose mover is gone; of two names of which one is marked, that one goes."""
        assert name.mark is not None
        others = [other for other in names if other.path != name.path]
        halves = [other for other in others if other.mark and other.mark.token == name.mark.token]
        gives_way = not halves and any(other.mark is None for other in others)
        try:
            with self._mount._operation(None, write=True) as call:
                if not gives_way:
                    await marks.unmarked(self._mount, name.place, call)
                    return
                found = await entries.fetch(name.place, call)
                if found is not None:
                    await entries.punch(name.place, call, unchanged_since=found.epoch)
        except (*UNREADABLE, *NO_CLASS, NotFoundError) as error:
            how = f"its move can't be ended: {error.message}"
            self._found.damaged.append((name.path, how))

    async def _tell_doubled(self, names: Mapping[int, Sequence[Name]]) -> None:
        """Names that are too many, and that no move explains."""
        for some in names.values():
            left = [name for name in some if await self._stands(name)]
            tokens = {name.mark.token if name.mark else b"" for name in left}
            if len(left) > 1 and (len(tokens) > 1 or b"" in tokens):
                first, *others = sorted(name.path for name in left)
                how = f"its object is also that of {', '.join(others)}"
                self._found.damaged.append((first, how))

    async def _stands(self, name: Name) -> bool:
        with self._mount._operation(None) as call:
            try:
                found = await entries.fetch(name.place, call)
            except UNREADABLE:
                return True
        return found is not None and found.entry.oid == name.oid

    def _check_readable(self) -> None:
        """Raises: DaosError IO"""
        if wrong := self._found.unreadable:
            shown = "; ".join(f"{path} at byte {at}: {how}" for path, at, how in wrong[:_SHOWN])
            more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise DaosError(f"files can't be read: {shown}{more}", code=DER.IO)

    def _check_removable(self, leaked: Sequence[ObjectId]) -> None:
        """Raises: DaosError IO"""
        if leaked and self._found.hidden:
            path, how = self._found.damaged[0]
            raise DaosError(
                f"a part of the tree can't be read ({path}: {how}) and may name what would be "
                "removed: repair it, or relink",
                code=DER.IO,
            )
