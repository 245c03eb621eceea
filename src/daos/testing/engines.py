"""Engines in processes, started as a server would: `daos_engine`, and its server's part of dRPC.

    async with EngineSystem(storage, ranks=2, targets=2) as system:
        async with system.client() as client: ...
        system.engines[1].kill_target(0)
        await system.engines[1].ended()

Sockets are in a directory of their own with a short name. Whatever happens, no process is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from daos.base.clock import SystemClock, uuid_from
from daos.base.errors import DaosError, error_for
from daos.base.hlc import Hlc
from daos.base.ids import Rank
from daos.base.peers import Peer
from daos.cart.context import Context
from daos.cart.transport.ranks import Places, RankNetwork, parse_uri
from daos.client.client import Client
from daos.drpc.client import call
from daos.drpc.modules import MgmtMethod, ModuleId, SrvMethod
from daos.drpc.registry import Methods, Registry
from daos.drpc.server import Listener
from daos.proto import mgmt_pb2 as pb
from daos.proto.srv_pb2 import NotifyReadyReq, NotifyReadyResp

START_S: Final = 30.0
STOP_S: Final = 30.0
M = TypeVar("M", bound=Message)
# A test that is killed takes its engines with it: PR_SET_PDEATHSIG outlives an exec.
_TIED: Final = (
    "import ctypes, os, sys;"
    "ctypes.CDLL(None).prctl(1, 9, 0, 0, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class EngineProcess:
    """One `daos_engine`. Made by `EngineSystem`."""

    def __init__(self, system: EngineSystem, number: int) -> None:
        self.number = number
        self.storage = system.storage / str(number)
        self.log = system.storage / f"engine{number}.log"
        self.process: asyncio.subprocess.Process | None = None
        self.ready: asyncio.Future[NotifyReadyReq]
        self._system = system

    @property
    def pid(self) -> int:
        """Of the process of the rank."""
        assert self.process is not None
        return self.process.pid

    def children(self) -> list[int]:
        """Pids of the targets, in their order."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return sorted(map(int, text.split()))

    async def start(self) -> None:
        """Start the process, and wait until it asks for its rank. Raises: DaosError"""
        system = self._system
        self.ready = asyncio.get_running_loop().create_future()
        variables = [f"{name}={value}" for name, value in system.environment(self.number).items()]
        command = ["env", *variables, sys.executable, "-c", _TIED, sys.executable]
        command += ["-m", "daos.cli.engine", *system.arguments]
        command += ["-t", str(system.targets), "-I", str(self.number)]
        command += ["-s", str(self.storage), "-d", str(system.sockets)]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, start_new_session=True
            )
        ended = asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait(
                (self.ready, ended), timeout=START_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ended.cancel()
        if not self.ready.done():
            raise DaosError(f"engine {self.number} does not start:\n{self.log.read_text()}")

    async def ask(self, method: MgmtMethod, request: Message, reply: type[M]) -> M:
        """One call. Raises: as `drpc.client.call`"""
        path = Path(self.ready.result().drpcListenerSock)
        return await call(path, ModuleId.MGMT, method, request, reply, timeout_s=START_S)

    async def set_up(self) -> None:
        """Tell it which rank it is, and who there is. Raises: the engine's error"""
        system = self._system
        rank = pb.SetRankReq(rank=self.number, map_version=system.version, key=system.key)
        _check(await self.ask(MgmtMethod.SET_RANK, rank, pb.DaosResp), self)
        _check(await self.ask(MgmtMethod.GROUP_UPDATE, system.group(), pb.GroupUpdateResp), self)
        _check(await self.ask(MgmtMethod.SET_UP, system.members(), pb.DaosResp), self)

    async def stop(self) -> int:
        """Stop it in order; its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end of all its processes; the exit status of the first."""
        assert self.process is not None
        async with asyncio.timeout(STOP_S):
            status = await self.process.wait()
            while alive(self.pid):  # noqa: ASYNC110 a group tells nobody of its end
                await asyncio.sleep(0.01)
        return status

    def kill(self) -> None:
        """What `kill -9` of the parent does."""
        os.kill(self.pid, signal.SIGKILL)

    def kill_target(self, index: int) -> None:
        """What `kill -9` of a target does."""
        os.kill(self.children()[index], signal.SIGKILL)


class EngineSystem:
    """Engines of one host, each a rank, and the socket that their server would have."""

    def __init__(
        self,
        storage: Path,
        *,
        ranks: int = 1,
        targets: int = 2,
        arguments: tuple[str, ...] = (),
        ports: Mapping[int, int] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`ports`: of the ranks that listen on TCP, too. `variables` of their environment."""
        self.storage = storage
        self.targets = targets
        self.arguments = arguments
        self.key = bytes(range(32))
        self.version = 0
        self.engines = [EngineProcess(self, number) for number in range(ranks)]
        self._ports = ports or {}
        self._variables = variables or {}
        self._clock = SystemClock()

    async def __aenter__(self) -> Self:
        self.sockets = Path(tempfile.mkdtemp(prefix="de-", dir="/tmp"))
        try:
            methods = Methods()
            methods.add(SrvMethod.NOTIFY_READY, NotifyReadyReq, self._notify_ready)
            registry = Registry()
            registry.register(ModuleId.SRV, methods)
            path = self.sockets / "daos_server.sock"
            self._listener = await Listener.start(path, registry, mode=0o600)
            for engine in self.engines:
                await engine.start()
            await self.set_up()
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

    async def close(self) -> None:
        """Leave nothing."""
        for engine in self.engines:
            if engine.process is not None and alive(engine.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(engine.pid, signal.SIGKILL)
                await engine.process.wait()
        await self._listener.close()
        shutil.rmtree(self.sockets, ignore_errors=True)

    async def set_up(self) -> None:
        """Tell all engines where all are, rank 0 first."""
        self.version += 1
        for engine in self.engines:
            await engine.set_up()

    async def restart(self, engine: EngineProcess) -> None:
        """Start an engine that has ended, as the rank that it was."""
        await engine.start()
        self.version += 1
        await engine.set_up()

    async def _notify_ready(self, request: NotifyReadyReq, peer: Peer) -> NotifyReadyResp:
        engine = self.engines[request.instanceIdx]
        if not engine.ready.done():
            engine.ready.set_result(request)
        return NotifyReadyResp()

    def environment(self, number: int) -> dict[str, str]:
        """What the server would tell an engine."""
        port = self._ports.get(number)
        told = {} if port is None else {"D_INTERFACE": "lo", "D_PORT": str(port)}
        return {**told, **self._variables}

    def group(self) -> pb.GroupUpdateReq:
        """Where all are."""
        told = pb.GroupUpdateReq(map_version=self.version)
        for engine in self.engines:
            ready = engine.ready.result()
            told.engines.add(rank=engine.number, uri=ready.uri, incarnation=ready.incarnation)
        return told

    def members(self) -> pb.SetUpReq:
        """Who there is."""
        told = pb.SetUpReq()
        for engine in self.engines:
            told.members.add(rank=engine.number, host="localhost", targets=self.targets)
        return told

    def client(
        self, *, timeout: float = 60.0, by_tcp: bool = False, machine: str = "here"
    ) -> Client:
        """A client in this process; `async with` closes it. `by_tcp`: as if on another host."""
        context, rng = self.context(by_tcp=by_tcp)
        return Client(context, clock=self._clock, rng=rng, timeout=timeout, machine=machine)

    async def create_pool(self, label: str, size_bytes: int) -> UUID:
        """What an administrator asks the server for. Raises: the engine's error"""
        uuid = uuid_from(random.Random())
        request = pb.PoolCreateReq(uuid=str(uuid), total_bytes=size_bytes, user="me@")
        request.properties.add(number=1, strval=label)
        engine = self.engines[0]
        _check(await engine.ask(MgmtMethod.POOL_CREATE, request, pb.PoolCreateResp), engine)
        return uuid

    def context(self, *, by_tcp: bool = False) -> tuple[Context, random.Random]:
        """A place to call all ranks from, and randomness; who takes it closes it."""
        loop = asyncio.get_running_loop()
        uris = {Rank(each.rank): parse_uri(each.uri) for each in self.group().engines}
        if by_tcp:
            uris = {rank: uri._replace(directory=None) for rank, uri in uris.items()}
        places = Places()
        places.update(1, uris)
        rng = random.Random()
        context = Context(
            RankNetwork(loop, places),
            None,
            clock=self._clock,
            hlc=Hlc(self._clock),
            rng=rng,
            loop=loop,
        )
        return context, rng


def free_ports(count: int) -> int:
    """The first of so many ports of this host on end that nobody has right now."""
    while True:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            first = 0
            for number in range(count):
                sock = stack.enter_context(socket.socket())
                sock.bind(("127.0.0.1", first + number if first else 0))
                first = first or sock.getsockname()[1]
            return first


def install(project: Path, directory: Path) -> None:
    """Put a project's modules where PYTHONPATH finds them, and its entry points, as pip would."""
    told = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for source in project.glob("*.py"):
        shutil.copy(source, directory)
    info = directory / f"{told['name'].replace('-', '_')}-{told['version']}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {told['name']}\nVersion: {told['version']}\n"
    (info / "METADATA").write_text(head)
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in points.items())
        for group, points in told["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(groups))


def alive(group: int) -> bool:
    """Whether a process of this group is left, zombies not counted."""
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group and fields[0] != "Z":
                    return True
    return False


def _check(
    reply: pb.DaosResp | pb.GroupUpdateResp | pb.PoolCreateResp, engine: EngineProcess
) -> None:
    if reply.status:
        raise error_for(reply.status, f"engine {engine.number}: {reply.problem}")
