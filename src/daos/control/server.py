"""`Server`: the control plane of one host, in the running loop.

    start   directories, dRPC socket, engines, gRPC, agent
    ready   every engine has joined, and the agent listens
    close   agent, engines, gRPC, dRPC: the way back

The caller has the lock of the directory of sockets, and decides what becomes of messages.

Source: DAOS src/control/server/server.go
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from daos.base.clock import Clock, Rng
from daos.base.errors import DER, DaosError, ExistsError, InvalidError
from daos.base.peers import SOCKET_PATH_MAX, Peer
from daos.base.version import VERSION
from daos.control import files
from daos.control.config.model import ServerConfig, control_address
from daos.control.gate import Gate
from daos.control.harness import Harness, Say
from daos.control.host import Host
from daos.control.management import Management
from daos.control.network import address_of, with_port
from daos.control.notify import VARIABLE, Notice
from daos.control.places import AGENT_LOCK, CONTROL_SOCKET, SERVER_SOCKET, SOCKET_DIR
from daos.control.processes import ended
from daos.control.restarts import RestartLimit
from daos.drpc.modules import ModuleId, SrvMethod
from daos.drpc.registry import Methods, Registry
from daos.drpc.server import Listener
from daos.proto import ctl_pb2, mgmt_pb2
from daos.proto.srv_pb2 import NotifyReadyReq, NotifyReadyResp

if TYPE_CHECKING:
    import grpc.aio

    from daos.control.service import Service

log = logging.getLogger(__name__)

_NOTICE: Final = "notify.sock"
_LONGEST: Final = "daos_engine_4194304.sock"  # the largest pid
_AGENT_DELAY_S: Final = 10.0
# An agent that ends so often before it listens will not come up by itself.
_AGENT_FAILURES_MAX: Final = 2
_AGENT_GRACE_S: Final = 10.0
_GRPC_GRACE_S: Final = 1.0


class Programs(NamedTuple):
    """How other programs of ours are started."""

    engine: Sequence[str]
    agent: Sequence[str]


class Server:
    """One; `start` it, `close` it."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        programs: Programs,
        environ: Mapping[str, str],
        hostname: str,
        clock: Clock,
        rng: Rng,
        say: Say,
    ) -> None:
        self.config: Final = config
        self._say = say
        self._environ = environ
        self.address: Final = control_address(config, hostname)
        self.harness: Final = Harness(
            config,
            engine=programs.engine,
            environ=environ,
            hostname=hostname,
            clock=clock,
            rng=rng,
            say=say,
        )
        self.management: Final = Management(self.harness, address=self.address, hostname=hostname)
        self.host: Final = Host(self.harness, address=self.address)
        self.agent: Final = (
            None if config.agent is None else AgentProcess(config, programs, environ, clock)
        )
        self._drpc: Listener | None = None
        self._gate: Gate | None = None
        self._grpc: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen, and start everything; returns before the engines are ready.

        Raises: DaosError; whatever was started is for `close`
        """
        sockets = self.config.sockets
        _check_directory(sockets)
        files.make_private(sockets)
        files.remove_sockets(sockets, "daos_engine*.sock")
        registry = Registry()
        registry.register(ModuleId.SRV, self.methods())
        self._drpc = await Listener.start(sockets / SERVER_SOCKET, registry, mode=0o600)
        where = self._tcp() or f"unix:{sockets / CONTROL_SOCKET}"
        await self.harness.start()
        self._grpc = await self._listen(sockets / CONTROL_SOCKET)
        self._say(f"DAOS Control Server v{VERSION} (pid {os.getpid()}) listening on {where}")
        for index in self.harness.unformatted:
            self._say(f"SCM format required on instance {index}")
        if self.agent is not None:
            await self.agent.start()

    def methods(self) -> Methods:
        """What engines may call."""
        methods = Methods()

        async def ready(request: NotifyReadyReq, peer: Peer) -> NotifyReadyResp:
            await self.harness.notify_ready(request, peer)
            return NotifyReadyResp()

        methods.add(SrvMethod.NOTIFY_READY, NotifyReadyReq, ready)
        return methods

    def services(self) -> tuple[Service, ...]:
        """What others may call by gRPC."""
        from daos.control.service import Service

        management = mgmt_pb2.DESCRIPTOR.services_by_name["MgmtSvc"]
        host = ctl_pb2.DESCRIPTOR.services_by_name["CtlSvc"]
        return (
            Service(management, self.management.answers, version=VERSION),
            Service(host, self.host.answers, version=VERSION),
        )

    def _tcp(self) -> str | None:
        """The address of the TCP port. Raises: InvalidError  it may not be opened"""
        config = self.config
        if config.port is None:
            return None
        if not config.insecure:
            text = "certificates are not supported yet, and without them nobody listens on TCP"
            raise InvalidError(f"{text}, unless transport_config says allow_insecure: true")
        address = address_of(config.interface) if config.interface else "0.0.0.0"
        return with_port(address, config.port)

    async def _listen(self, path: Path) -> grpc.aio.Server:
        # Loaded while the engines start: 0.1 s of each start.
        import grpc.aio

        from daos.control.service import OPTIONS, target

        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers(self.services())
        gate = self._gate = Gate(path)
        addresses = [target(f"unix:{gate.inner}"), *filter(None, [self._tcp()])]
        mask = os.umask(0o177)  # of the socket: nobody else's, from its birth on
        try:
            for address in addresses:
                server.add_insecure_port(address)
        except RuntimeError as error:
            # Why is said by gRPC on standard error alone.
            raise ExistsError(
                f"can't listen at {address}: it is in use, or not ours; "
                "`port` of the configuration, or --port, names another"
            ) from error
        finally:
            os.umask(mask)
        await server.start()
        await gate.open()
        return server

    async def ready(self, *, within_s: float) -> None:
        """Wait until every engine has joined, and the agent listens.

        Raises: DaosError  one does not
        """
        failed = await self.harness.joined(self.harness.instances, within_s=within_s)
        for index, error in failed.items():
            log_file = self.harness.instances[index].config.log_file
            hint = f"; see {log_file}" if log_file else ""
            raise DaosError(f"engine {index}: {error.message}{hint}", code=error.code)
        if self.agent is not None:
            await self.agent.ready(within_s=within_s)

    async def close(self) -> None:
        """Stop everything, and leave nothing behind. Idempotent."""
        if self.agent is not None:
            await self.agent.close()
        await self.harness.close()
        server, self._grpc = self._grpc, None
        if server is not None:
            await server.stop(_GRPC_GRACE_S)
        if self._gate is not None:
            await self._gate.close()
        listener, self._drpc = self._drpc, None
        if listener is not None:
            await listener.close()
        files.remove_sockets(self.config.sockets, "daos_engine*.sock")


def _check_directory(sockets: Path) -> None:
    """Raises: InvalidError  sockets in there could not be reached"""
    if "," in str(sockets):  # it parts addresses, also those of gRPC
        raise InvalidError(f"{sockets}: a directory of sockets has no comma in its path")
    room = SOCKET_PATH_MAX - len(os.fsencode(sockets / _LONGEST))
    if room < 0:
        size = len(os.fsencode(sockets))
        text = f"{sockets}: a directory of sockets has a path of at most {size + room} bytes"
        raise InvalidError(f"{text}, not {size}; `socket_dir` or DAOS_SOCKET_DIR names another")


class AgentProcess:
    """The agent of a system without configuration: a process that is kept running."""

    def __init__(
        self, config: ServerConfig, programs: Programs, environ: Mapping[str, str], clock: Clock
    ) -> None:
        assert config.agent is not None
        self._directory = config.agent
        self._config = config
        self._command = [*programs.agent, "--runtime_dir", str(config.agent), "--insecure"]
        self._environ = {**environ, SOCKET_DIR: str(config.sockets)}
        self._limit = RestartLimit(_AGENT_DELAY_S)
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._change = asyncio.Condition()
        self.listens = False
        self.starts = 0  # how often it has begun to listen
        self._failures = 0  # how often, since then, it ended before it listened

    async def start(self) -> None:
        """Raises: BusyError  another agent has the directory"""
        files.make_private(self._directory)
        wanted = ("--runtime_dir", str(self._directory))
        # Killed: an agent that ends in order takes the handles of its clients with it. This one's
        # place is taken, by one that knows what it knew.
        await ended(self._directory / AGENT_LOCK, wanted, grace_s=None)
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def ready(self, *, within_s: float, starts: int = 0) -> None:
        """Wait until it listens, for the time `starts` at least.

        Raises: DaosError  TIMEDOUT; MISC: it ends each time before it listens
        """

        def decided() -> bool:
            listens = self.listens and self.starts >= starts
            return listens or self._failures >= _AGENT_FAILURES_MAX

        try:
            async with asyncio.timeout(within_s), self._change:
                await self._change.wait_for(decided)
        except TimeoutError:
            text = f"the agent is not ready within {within_s:g} s; see {self._config.log_file}"
            raise DaosError(text, code=DER.TIMEDOUT) from None
        if self._failures >= _AGENT_FAILURES_MAX:
            raise DaosError(f"the agent ends as soon as it starts; see {self._config.log_file}")

    async def close(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_AGENT_GRACE_S):
                await process.wait()
        except TimeoutError:
            log.warning("the agent does not stop; it is killed")
            process.kill()
            await process.wait()

    async def _keep(self) -> None:
        while True:
            notice = Notice(self._config.sockets / _NOTICE)
            try:
                process = self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=subprocess.DEVNULL,
                    env={**self._environ, VARIABLE: str(notice.path)},
                    start_new_session=True,
                )
                loop = asyncio.get_running_loop()
                said, end = loop.create_task(notice.wait()), loop.create_task(process.wait())
                try:
                    await asyncio.wait({said, end}, return_when=asyncio.FIRST_COMPLETED)
                    if said.done():
                        self.starts += 1
                        self._failures = 0
                        await self._now(listens=True)
                    else:
                        self._failures += 1
                    await asyncio.wait({end})
                finally:
                    said.cancel()
                    end.cancel()
            finally:
                notice.close()
            await self._now(listens=False)
            delay_s = self._limit.delay_s(self._clock.monotonic_ns())
            log.warning("the agent ended (%s); it is started again", process.returncode)
            await asyncio.sleep(delay_s)

    async def _now(self, *, listens: bool) -> None:
        async with self._change:
            self.listens = listens
            self._change.notify_all()
