"""`daos.local(path)`: a system of one's own in a directory, served by a thread of this process.

    directory --lock--> Lock          one process at a time, by flock: gone when the process is
              --devices/, live/--> System, in the loop of a Portal's thread

`close` ends the system; leaving the `with` block does. A process that forks keeps its system: the
child's handles refuse to work, and nothing that the child does on its way out touches the parent's
directory.

Source: ours. SQLite's manners: a path is all it takes.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from daos.base.clock import SystemClock
from daos.base.directory import LOCK, Lock, told_by
from daos.base.errors import (
    InvalidError,
    ShutdownError,
)
from daos.bio.file_directory import FileDirectory
from daos.bio.meta_config import MetaConfig
from daos.cart.transport import Transport
from daos.client.admin import Admin as AsyncAdmin
from daos.client.client import Client as AsyncClient
from daos.client.owner import group_principal, user_principal
from daos.client.portal import Portal
from daos.client.ranges import ranges_limit
from daos.client.sync import Admin, Client
from daos.embedded.system import System, SystemConfig

_DEVICES: Final = "devices"
_LIVE: Final = "live"


class LocalSystem:
    """A running embedded system. Made by `local`."""

    def __init__(self, root: Path, config: SystemConfig, *, temporary: bool) -> None:
        self.path = root
        self._portal: Portal | None = None
        self._system: System | None = None
        self._admin: Admin | None = None
        self._lock: Lock | None = Lock(root / LOCK)
        self._remove = _remove_at_end(self, root) if temporary else None
        try:
            portal = self._portal = Portal(name="daos-local")
            self._system = portal.call(start_in, root, config)
        except BaseException:
            self.close()
            raise

    @property
    def admin(self) -> Admin:
        """The administrator's calls: making and removing pools."""
        portal, system = self._running()
        if self._admin is None or self._admin.closed:
            self._admin = Admin(portal.call(_admin_of, system), portal)
        return self._admin

    def connect(self) -> Client:
        """A new client; close it, or let the system's end do so."""
        portal, system = self._running()
        return Client(portal.call(system.connect), portal)

    def close(self) -> None:
        """End every call, write checkpoints, release the directory. Idempotent.

        Calls in flight in other threads finish or raise CanceledError, within a second. In a forked
        child nothing is done: the system is the parent's.

        Raises: NvmeIoError, NoSpaceError  as `System.stop`; all is closed
        """
        portal, self._portal = self._portal, None
        system, self._system = self._system, None
        try:
            if portal is not None:
                try:
                    if system is not None and not portal.forked:
                        portal.call(system.stop)
                finally:
                    portal.close()
        finally:
            lock, self._lock = self._lock, None
            if lock is not None:
                lock.release()
            if self._remove is not None:
                self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "open" if self._system is not None else "closed"
        return f"<daos.local {str(self.path)!r}, {state}>"

    def _running(self) -> tuple[Portal, System]:
        if self._portal is None or self._system is None:
            raise ShutdownError(f"the local system in {self.path} is closed")
        return self._portal, self._system


class AsyncLocalSystem:
    """`daos.aio.local(path)`: the same system in the caller's own loop; `async with` runs it."""

    def __init__(self, root: Path, config: SystemConfig, *, temporary: bool) -> None:
        self.path = root
        self._config = config
        self._remove = _remove_at_end(self, root) if temporary else None
        self._lock: Lock | None = None
        self._system: System | None = None

    @property
    def admin(self) -> AsyncAdmin:
        """The administrator's calls."""
        return self._running().admin

    async def connect(self) -> AsyncClient:
        """A new client."""
        return await self._running().connect()

    async def close(self) -> None:
        """As `LocalSystem.close`."""
        system, self._system = self._system, None
        try:
            if system is not None:
                await system.stop()
        finally:
            lock, self._lock = self._lock, None
            if lock is not None:
                lock.release()
                if self._remove is not None:
                    self._remove()

    async def __aenter__(self) -> Self:
        self._lock = Lock(self.path / LOCK)
        try:
            self._system = await start_in(self.path, self._config)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _running(self) -> System:
        if self._system is None:
            raise ShutdownError(f"the local system in {self.path} is closed")
        return self._system


def holds_system(root: Path) -> bool:
    """Whether a system has been made there, or begun."""
    return (root / _DEVICES).exists()


async def start_in(
    root: Path, config: SystemConfig, *, network: Transport | None = None, evict: bool = True
) -> System:
    """Start a system over the files below `root`, in the running loop. The caller has the lock.

    `network` and `evict`: as `System.start`.
    """
    devices, live = root / _DEVICES, root / _LIVE
    with told_by(root):
        directory = FileDirectory.make(devices)
        shutil.rmtree(live, ignore_errors=True)
        live.mkdir()
    return await System.start(
        config,
        directory=directory,
        live_path=live,
        clock=SystemClock(),
        rng=random.SystemRandom(),
        network=network,
        evict=evict,
    )


def local(
    path: str | os.PathLike[str] | None = None,
    *,
    targets: int | None = None,
    timeout: float = 60.0,
) -> LocalSystem:
    """Open the system kept in directory `path`, or make one there.

    With `path` None the system lives in a temporary directory, which goes with it.

    Units:      timeout in seconds, for calls that name none
    Raises:     BusyError         another process has it open; the text names its pid
                InvalidError      `path` is no directory; another number of targets than it has
                AccessError       the directory can't be made or written to
                CorruptError      what is stored there fails its checksums; nothing was changed
                NoSpaceError      the disk is full
    """
    config = make_config(targets=targets, timeout=timeout)
    root = prepare(path)
    return LocalSystem(root, config, temporary=path is None)


def async_local(
    path: str | os.PathLike[str] | None = None,
    *,
    targets: int | None = None,
    timeout: float = 60.0,
) -> AsyncLocalSystem:
    """As `local`, for `async with`: the system runs in the caller's loop."""
    config = make_config(targets=targets, timeout=timeout)
    return AsyncLocalSystem(prepare(path), config, temporary=path is None)


def prepare(path: str | os.PathLike[str] | None) -> Path:
    """The directory at `path`, made if it is missing; a temporary one for None."""
    if path is None:
        return Path(tempfile.mkdtemp(prefix="daos-"))
    if not os.fspath(path):
        raise InvalidError('an empty path; say "." for the directory of this process')
    root = Path(path).absolute()
    with told_by(root):
        if root.exists() and not root.is_dir():
            raise InvalidError(f"{root} is not a directory; a local system keeps its files in one")
        FileDirectory.make(root)
    return root


def _remove_at_end(system: object, root: Path) -> weakref.finalize[[int, Path], object]:
    """What removes a temporary directory: called, forgotten, or at the end of this process."""
    return weakref.finalize(system, _remove_tree, os.getpid(), root)


def _remove_tree(pid: int, root: Path) -> None:
    if os.getpid() == pid:  # not in a forked child: the parent goes on using it
        shutil.rmtree(root, ignore_errors=True)


def make_config(
    *, targets: int | None, timeout: float, meta: MetaConfig | None = None
) -> SystemConfig:
    """What a local system needs to know; pools belong to the user who runs it.

    Raises: InvalidError
    """
    return SystemConfig(
        targets=targets,
        timeout=timeout,
        ranges_max=ranges_limit(os.environ),
        owner=user_principal(),
        group=group_principal(),
        meta=meta or MetaConfig(),
    )


async def _admin_of(system: System) -> AsyncAdmin:
    return system.admin
