"""The files of one directory as devices. Nobody else puts anything there.

A device is made under another name (suffix `.creating`) and renamed when it is durable, so
whatever has a device's name is whole. What a crash left half made is removed by the next `create`.

Crash points: 1 the file flushed under its temporary name; 2 the directory flushed after the rename;
3 the directory flushed after an unlink. What leads to the directory is flushed where it is made.

Files are made and removed in a thread of the loop's executor. A cancelled `create` or `destroy`
goes on to its end there, and the name stays busy until then.

Source: ours; DAOS keeps blobs in an SPDK blobstore and their list in SMD (src/bio/smd).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self, TypeVarTuple

from daos.base.directory import flush_directory
from daos.base.errors import BusyError, DaosError, ExistsError
from daos.bio.device import check_name, check_sizes
from daos.bio.direct_io import error_from_os
from daos.bio.file_device import READERS_MAX, FileDevice
from daos.bio.memory import MIB

# A dot is not allowed in names of devices, so none can end like this.
_TEMPORARY: Final = ".creating"

Arguments = TypeVarTuple("Arguments")


class FileDirectory:
    """See the module. The directory itself must exist."""

    def __init__(self, path: Path, *, direct: bool = True, readers_max: int = READERS_MAX) -> None:
        self.path = path
        self._direct = direct
        self._readers_max = readers_max
        self._open: dict[str, FileDevice] = {}
        self._busy: set[str] = set()  # names with a create or destroy under way

    @classmethod
    def make(cls, path: Path) -> Self:
        """The directory at `path`; it and what leads there is made if it is missing, durably.

        What is there already may have been made a moment ago, by somebody who did not flush it.

        Raises: OSError
        """
        missing = [each for each in (path, *path.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            flush_directory(each.parent)
        if missing:
            with contextlib.suppress(PermissionError):  # not ours: it was there long before
                flush_directory(missing[-1].parent.parent)
        return cls(path)

    async def create(self, name: str, size_bytes: int, *, zero: int = 0) -> FileDevice:
        """A cancelled call may still create the device; it is then left closed."""
        check_sizes(size_bytes, zero)
        await self._in_thread(name, self._create_file, name, size_bytes, zero)
        return await self.open(name)

    async def open(self, name: str) -> FileDevice:
        self._check_free(name)
        device = FileDevice.open(
            self.path / name, direct=self._direct, readers_max=self._readers_max
        )
        self._open[name] = device
        return device

    async def destroy(self, name: str) -> None:
        """A cancelled call may still destroy the device."""
        await self._in_thread(name, self._destroy_file, name)

    def names(self) -> list[str]:
        try:
            found = os.listdir(self.path)
        except OSError as err:
            raise error_from_os(err, f"list {self.path}") from err
        return sorted(name for name in found if not name.endswith(_TEMPORARY))

    async def close(self) -> None:
        for device in list(self._open.values()):
            await device.close()
        self._open.clear()

    def _check_free(self, name: str) -> None:
        check_name(name)
        device = self._open.get(name)
        if name in self._busy or (device is not None and not device.closed):
            raise BusyError(f"device {name!r} is open")

    async def _in_thread(
        self, name: str, work: Callable[[*Arguments], None], *args: *Arguments
    ) -> None:
        """The name stays busy until the thread is through, even if the waiting task is gone."""
        self._check_free(name)
        self._busy.add(name)
        future = asyncio.get_running_loop().run_in_executor(None, work, *args)
        future.add_done_callback(lambda _: self._busy.discard(name))
        await asyncio.shield(future)

    # What follows blocks, and runs in a thread.

    def _create_file(self, name: str, size_bytes: int, zero: int) -> None:
        path, temporary = self.path / name, self.path / (name + _TEMPORARY)
        try:
            self._remove_leftovers()
            if path.exists():
                raise ExistsError(f"device {name!r} exists")
            try:
                _write_zeros(temporary, size_bytes, zero)
                os.rename(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            flush_directory(self.path)
        except DaosError:
            raise
        except OSError as err:
            raise error_from_os(err, f"create device {name!r} of {size_bytes} bytes") from err

    def _destroy_file(self, name: str) -> None:
        try:
            os.unlink(self.path / name)
            flush_directory(self.path)
        except OSError as err:
            raise error_from_os(err, f"destroy device {name!r}") from err

    def _remove_leftovers(self) -> None:
        found_before = os.listdir(self.path)
        making = {name + _TEMPORARY for name in tuple(self._busy)}
        for found in found_before:
            if found.endswith(_TEMPORARY) and found not in making:
                (self.path / found).unlink(missing_ok=True)


def _write_zeros(path: Path, size_bytes: int, zero: int) -> None:
    """A new file of `size_bytes` allocated bytes, the first `zero` of them written, flushed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        zeros = memoryview(bytes(MIB))
        at = 0
        while at < zero:
            at += os.pwrite(descriptor, zeros[: min(MIB, zero - at)], at)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
