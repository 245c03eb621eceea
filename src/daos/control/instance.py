"""`Instance`: one engine of this server: its storage, its process, what is known of it.

    storage:   unformatted --format--> formatted (superblock)
    process:   start --> ready (NotifyReady) --> ended
    calls:     dRPC at the socket that NotifyReady named

Decides nothing; `harness` does.

Source: DAOS src/control/server/instance*.go
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from daos.base.clock import Clock
from daos.base.directory import LOCK, flush_directory, told_by
from daos.base.errors import DaosError, InvalidError
from daos.control import faults, files
from daos.control.config.model import EngineConfig
from daos.control.layout import Superblock
from daos.control.members import MemberState
from daos.control.processes import ended
from daos.drpc.client import Connection
from daos.drpc.modules import MgmtMethod, ModuleId
from daos.proto.srv_pb2 import NotifyReadyReq

M = TypeVar("M", bound=Message)

SUPERBLOCK: Final = "superblock"
# What an engine keeps in its storage, and what may stand beside it.
_OURS: Final = ("devices", "live", "stopped", "stopped.new", SUPERBLOCK, SUPERBLOCK + ".new")
_BESIDE: Final = (LOCK, "control", "lost+found")
# Answers about ranks and groups are made without I/O.
CALL_S: Final = 20.0


class Space(NamedTuple):
    """A file system; bytes. `device` is the same where it is the same one."""

    device: str
    total: int
    available: int


def superblock(storage: Path) -> Superblock | None:
    """That of an engine's storage, if it is formatted. Raises: CorruptError, AccessError"""
    raw = files.read(storage / SUPERBLOCK)
    return None if raw is None else Superblock.parse(raw)


class Instance:
    """Engine `index`.

    Raises: CorruptError   its superblock is damaged
            InvalidError   it is of another system, or has another number of targets
    """

    def __init__(self, index: int, config: EngineConfig, *, system: str, clock: Clock) -> None:
        self.index: Final = index
        self.config: Final = config
        self.superblock: Superblock | None = None
        self.info = ""
        self.process: asyncio.subprocess.Process | None = None
        self.ready: NotifyReadyReq | None = None
        self.stopping = False
        self._clock = clock
        self.state = MemberState.AWAIT_FORMAT
        block = superblock(config.storage)
        if block is not None:
            if block.system != system:
                text = f"{config.storage} belongs to the system {block.system!r}, not {system!r}"
                raise InvalidError(text)
            if block.targets != config.targets:
                text = f"{config.storage} was formatted for {block.targets} targets, for life"
                raise InvalidError(f"{text}; it can't have {config.targets}")
            self.superblock = block
            self.state = MemberState.STOPPED

    @property
    def state(self) -> MemberState:
        """Where it is in its life."""
        return self._state

    @state.setter
    def state(self, state: MemberState) -> None:
        self._state = state
        self.since_ns = self._clock.now_ns()

    @property
    def rank(self) -> int | None:
        """The rank, once it has one."""
        return None if self.superblock is None else self.superblock.rank

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self.process is None else self.process.pid

    def format(self, uuid: UUID, system: str, *, fault_domain: str) -> None:
        """Make the storage; what an engine has kept there is removed.

        Raises: InvalidError   there are files of others; nothing was changed
                FaultError     it runs
                AccessError, NoSpaceError
        """
        storage = self.config.storage
        if self.process is not None:
            raise faults.already_formatted(str(storage))
        files.make_private(storage)
        with told_by(storage):
            found = sorted(entry.name for entry in storage.iterdir())
            if foreign := [name for name in found if name not in (*_OURS, *_BESIDE)]:
                text = f"{storage} holds what is none of ours: {', '.join(foreign[:3])}"
                raise InvalidError(f"{text}; empty it, or name another directory")
            (storage / SUPERBLOCK).unlink(missing_ok=True)  # first: half a format is none
            flush_directory(storage)
            for name in _OURS:
                _remove(storage / name)
        block = Superblock(uuid, system, self.config.targets, fault_domain=fault_domain)
        self._write(block)
        self.state = MemberState.STOPPED

    def unformat(self) -> None:
        """Forget what it was: its storage waits for a format. Raises: AccessError, NoSpaceError"""
        assert self.process is None
        with told_by(self.config.storage):
            (self.config.storage / SUPERBLOCK).unlink(missing_ok=True)
            flush_directory(self.config.storage)
        self.superblock = None
        self.state = MemberState.AWAIT_FORMAT

    def becomes(self, rank: int) -> None:
        """Keep the rank that the engine has from now on."""
        assert self.superblock is not None
        self._write(changed(self.superblock, rank=rank))

    def is_at(self, uri: str, incarnation: int) -> None:
        """Keep where the engine is to be found now."""
        assert self.superblock is not None
        self._write(changed(self.superblock, uri=uri, incarnation=incarnation))

    def _write(self, block: Superblock) -> None:
        files.replace(self.config.storage / SUPERBLOCK, block.emit())
        self.superblock = block

    async def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process, in a session of its own: signals of our terminal are not for it.

        Raises: DaosError  it can't be started
        """
        self.ready = None
        self.info = ""
        log = self.config.log_file
        if log is not None:
            files.make_private(log.parent)
        with told_by(log or Path(command[0])):
            output = None if log is None else open(log, "ab")  # noqa: ASYNC230, SIM115
            try:
                self.process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environment),
                    start_new_session=True,
                )
            finally:
                if output is not None:
                    output.close()
        self.state = MemberState.STARTING

    async def wait(self) -> str:
        """Wait for the end of the process; how it ended. Its children end with it."""
        process = self.process
        assert process is not None
        status = await process.wait()
        self.process = self.ready = None
        # What a killed parent leaves behind for a moment, and what hangs.
        _kill_group(process.pid)
        if status < 0:
            return f"killed by signal {-status} ({signal.Signals(-status).name})"
        return f"exit status {status}"

    def signal(self, number: int) -> None:
        """Send the process a signal, if there is one."""
        if self.process is not None:
            self.process.send_signal(number)

    async def ask(
        self, method: MgmtMethod, request: Message, reply: type[M], *, timeout_s: float = CALL_S
    ) -> M:
        """Ask the engine by dRPC.

        Raises: FaultError  nobody listens, nothing was asked; DaosError  as `Connection.call`
        """
        if self.ready is None:
            raise faults.data_plane_not_started()
        try:
            connection = await Connection.open(Path(self.ready.drpcListenerSock))
        except DaosError as error:  # it has just ended
            raise faults.data_plane_not_started() from error
        async with connection:
            return await connection.call(ModuleId.MGMT, method, request, reply, timeout_s=timeout_s)

    async def end_orphan(self, *, grace_s: float) -> int | None:
        """End an engine that a server that died left behind; its pid.

        Raises: BusyError  the storage is in use by something that is no engine of ours
        """
        return await ended(
            self.config.storage / LOCK,
            ("-s", str(self.config.storage), "-I", str(self.index)),
            grace_s=grace_s,
        )

    def space(self) -> Space:
        """Of the file system below the storage, or below where it will be."""
        storage = self.config.storage
        path = next(each for each in (storage, *storage.parents) if each.exists())
        with told_by(path):
            found, device = os.statvfs(path), path.stat().st_dev
        return Space(
            f"{os.major(device)}:{os.minor(device)}",
            found.f_blocks * found.f_frsize,
            found.f_bavail * found.f_frsize,
        )


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_socket(path: str) -> bool:
    """Whether an engine has made it."""
    return Path(path).is_socket()
