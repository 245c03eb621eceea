"""`Listener`: answers dRPC calls at a socket, by the modules of its `Registry`.

    accept --> session: receive --> one task a call --> respond --> send
                          └ end, garbage, standing still --> close

A call that cannot be read is answered with FAILED_UNMARSHAL_CALL, and the session goes on; packets
that make no message end it, and it alone. Answers leave as they get ready.

    L1  sessions, and calls of one that are being worked on, are bounded: a session that has too
        many is not read, a peer beyond the bound is not taken
    L2  nothing that a peer does ends the listener, or another session
    L3  who may not come in by `Door` hears so as the answer to its first call, and nothing else; of
        such there are STRANGERS_MAX at a time
    L4  `close` waits for the answers that are being made, up to `DRAIN_S`

Source: DAOS src/engine/drpc_progress.c, drpc_listener.c; a loop that is told, not a poll
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from functools import partial
from pathlib import Path
from typing import Final

from daos.base.errors import DaosError
from daos.base.peers import Door, Peer
from daos.drpc.connection import MOVE_S, MessageSocket, listen
from daos.drpc.registry import Registry, failure, sequence_of

log = logging.getLogger(__name__)

SESSIONS_MAX: Final = 1024
CALLS_MAX: Final = 64  # of one session
STRANGERS_MAX: Final = 16
DRAIN_S: Final = 5.0
# Without descriptors or memory: so long no connection is taken.
_FULL_S: Final = 0.2
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Made by `start`; `close` it."""

    def __init__(
        self, listening: socket.socket, path: Path, registry: Registry, door: Door
    ) -> None:
        self.path: Final = path
        self._door = door
        self._registry = registry
        self._listening = listening
        self._take = asyncio.get_running_loop().sock_accept
        self._sessions: set[asyncio.Task[None]] = set()
        self._strangers: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    @classmethod
    async def start(cls, path: Path, registry: Registry, *, mode: int) -> Listener:
        """Listen at `path` with the permissions `mode` of its file.

        Raises: as `connection.listen`
        """
        return cls(listen(path, mode), path, registry, Door(mode))

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._sessions)

    async def close(self) -> None:
        """Take nothing new, answer what came, remove the socket. Idempotent."""
        await _end([self._accepting])
        self._listening.close()
        self.path.unlink(missing_ok=True)
        if self._calls:
            await asyncio.wait(self._calls, timeout=DRAIN_S)
        await _end([*self._calls, *self._sessions, *self._strangers])

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await self._take(self._listening)
            except OSError as error:
                log.warning("drpc accept failed path=%s %s", self.path, error.strerror)
                if error.errno in _FULL:
                    await asyncio.sleep(_FULL_S)
                continue
            session = MessageSocket(connected, self.path)
            peer = session.peer()
            refusal = self._door.refusal(peer, str(self.path))
            if refusal is not None:
                if len(self._strangers) >= STRANGERS_MAX:
                    session.close()
                    continue
                tasks, work = self._strangers, self._refuse(session, refusal)
            elif len(self._sessions) >= SESSIONS_MAX:
                log.warning("drpc refused path=%s sessions=%d", self.path, SESSIONS_MAX)
                session.close()
                continue
            else:
                tasks, work = self._sessions, self._serve(session, peer)
            task = loop.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _refuse(self, session: MessageSocket, refusal: DaosError) -> None:
        try:
            message = await session.receive(MOVE_S)
            if message is not None:
                answer = failure(sequence_of(message), refusal)
                await session.send(answer.SerializeToString())
        except DaosError as error:
            log.debug("drpc stranger left path=%s %s", self.path, error)
        finally:
            session.close()

    async def _serve(self, session: MessageSocket, peer: Peer) -> None:
        room = asyncio.Semaphore(CALLS_MAX)
        calls: set[asyncio.Task[None]] = set()
        try:
            while True:
                await room.acquire()
                message = await session.receive()
                if message is None:
                    break
                call = asyncio.get_running_loop().create_task(self._answer(session, message, peer))
                for tasks in (calls, self._calls):
                    tasks.add(call)
                    call.add_done_callback(tasks.discard)
                call.add_done_callback(lambda _: room.release())
                call.add_done_callback(partial(self._ended, session))
        except DaosError as error:
            log.info("drpc session ended path=%s %s", self.path, error)
        finally:
            try:
                if calls:  # the peer may have closed its half only
                    await asyncio.wait(calls)
            finally:
                session.close()

    def _ended(self, session: MessageSocket, call: asyncio.Task[None]) -> None:
        """A bug leaves a call without an answer: its peer shall not wait for one."""
        bug = None if call.cancelled() else call.exception()
        if bug is not None:
            log.error("drpc bug path=%s", self.path, exc_info=bug)
            session.end()

    async def _answer(self, session: MessageSocket, message: bytes, peer: Peer) -> None:
        response = await self._registry.respond(message, peer)
        try:
            await session.send(response.SerializeToString())
        except DaosError as error:
            log.info("drpc answer lost path=%s %s", self.path, error)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
