"""A system in a process of its own: `python -m daos.embedded.serve --path DIR --sm SOCKETS`.

    --path DIR         what `daos.local(DIR)` keeps: one process at a time
    --sm SOCKETS       serve this host by Unix sockets and shared memory, in that directory
    --tcp HOST:PORT    serve any host; target t listens at PORT + 1 + t
    --targets N        of a new system
    --memory SIZE      for payloads at work, of a pool on a target; requests beyond it wait
    --loop NAME        uvloop, asyncio; the first that is there by default
    --until-eof        stop when standard input ends: with the process that holds its other end

When it can be reached it writes one line, `ready sm:… tcp:…`; where standard output is closed it
goes on without. SIGTERM and SIGINT stop it in order, with checkpoints. Exit status: 0 stopped in
order, 1 could not start or stop (the reason on standard error), 2 wrong usage. What could not start
has made no system: it tries its addresses first. Whoever can reach an address may do everything:
there are no credentials yet.

Clients outlive it: their handles are open in the next process that serves the same directory.

Source: ours; DAOS starts daos_server, which starts an engine
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from daos.base.directory import LOCK, Lock
from daos.base.errors import DaosError, InvalidError
from daos.base.ids import Tag
from daos.base.sizes import parse_size
from daos.bio.meta_config import MetaConfig
from daos.cart.transport import Acceptor, Channel, Link, Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.transport.listeners import Listeners
from daos.cart.wire import Endpoint
from daos.embedded.addresses import Address, SmAddress, parse_address, transport_to
from daos.embedded.local import holds_system, make_config, prepare, start_in
from daos.embedded.system import TARGETS_DEFAULT, SystemConfig
from daos.engine.rank import SERVICE_RANK

log = logging.getLogger(__name__)

_PROGRAM: Final = "python -m daos.embedded.serve"
_STDIN: Final = 0
_STDOUT: Final = 1
# A process of its own may say how often the collector looks. Operations in flight are more than the
# 700 objects of the interpreter's youngest generation: 10 to 18 % of their time. A full collection,
# some 10 ms, comes after 20 million objects instead of 70,000.
GC_THRESHOLDS: Final = (20_000, 20, 50)


class ServedNetwork:
    """A `Transport` that listens on several and calls by the first: the one inside this process."""

    def __init__(self, inside: Transport, outside: Sequence[Transport]) -> None:
        self._inside = inside
        self._all = (inside, *outside)

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> Listeners:
        """Everywhere or nowhere. Raises: as each of them"""
        listeners = Listeners()
        try:
            for transport in self._all:
                listeners.add(transport.listen(endpoint, acceptor))
        except DaosError:
            listeners.close()
            raise
        return listeners

    def connect(self, endpoint: Endpoint, channel: Channel) -> Link:
        return self._inside.connect(endpoint, channel)


async def serve(
    root: Path,
    config: SystemConfig,
    addresses: Sequence[Address],
    *,
    ready: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Serve the system in `root`, whose lock the caller has, until `stop` is set.

    Raises:     as `daos.local`; ExistsError (an address is in use), AccessError, InvalidError
    """
    loop = asyncio.get_running_loop()
    for address in addresses:
        if isinstance(address, SmAddress):
            _make_private(address.directory)
    outside = [await transport_to(address, loop) for address in addresses]
    if not holds_system(root):
        _try_to_listen(outside, config.targets or TARGETS_DEFAULT)
    network = ServedNetwork(InprocNetwork(loop), outside)
    system = await start_in(root, config, network=network, evict=False)
    try:
        ready()
        await stop.wait()
    finally:
        await system.stop()


def _try_to_listen(outside: Sequence[Transport], targets: int) -> None:
    """Before a system is made: that of the addresses is found out last. Raises: as `listen`."""
    for transport in outside:
        listeners = Listeners()
        try:
            for tag in range(targets + 1):
                listeners.add(transport.listen(Endpoint(SERVICE_RANK, Tag(tag)), _nobody))
        finally:
            listeners.close()


def _nobody(link: Link) -> Channel:
    raise AssertionError(f"no turn of the loop has passed in which {link} was taken")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    _keep_standard_descriptors()
    parser = _parser()
    options = parser.parse_args(arguments)
    gc.set_threshold(*GC_THRESHOLDS)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        addresses = _addresses(options)
        meta = MetaConfig(memory_bytes=parse_size(options.memory))
        config = make_config(targets=options.targets, timeout=60.0, meta=meta)
        factory = _loop_factory(options.loop)
    except InvalidError as error:
        parser.error(error.message)
    try:
        root = prepare(options.path)
        lock = Lock(root / LOCK)
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(_run(root, config, addresses, until_eof=options.until_eof))
        finally:
            lock.release()
    except DaosError as error:
        if sys.stderr is not None:
            sys.stderr.write(f"{_PROGRAM}: {error}\n")
        return 1
    return 0


def _keep_standard_descriptors() -> None:
    """Closed ones become /dev/null: a device opened at 1 or 2 would get whatever anybody prints."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


async def _run(
    root: Path, config: SystemConfig, addresses: Sequence[Address], *, until_eof: bool
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        try:
            loop.add_reader(_STDIN, _look_for_end, loop, stop)
        except PermissionError as error:  # a file, or /dev/null, or closed
            raise InvalidError("--until-eof wants a pipe as standard input") from error

    def ready() -> None:
        gc.collect()
        gc.freeze()  # modules and classes stay
        try:
            os.write(_STDOUT, f"ready {' '.join(map(str, addresses))}\n".encode())
        except OSError as error:
            text = f"can't say on standard output that it is ready: {error.strerror}"
            raise InvalidError(text) from error

    await serve(root, config, addresses, ready=ready, stop=stop)


def _addresses(options: argparse.Namespace) -> list[Address]:
    given = {"sm": options.sm, "tcp": options.tcp}
    addresses = [parse_address(f"{kind}:{text}") for kind, text in given.items() if text]
    if not addresses:
        raise InvalidError("say where to serve: --sm SOCKETS, --tcp HOST:PORT, or both")
    return addresses


def _look_for_end(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(_STDIN, 4096):
        loop.remove_reader(_STDIN)
        stop.set()


def _make_private(directory: Path) -> None:
    """A directory of sockets: who may enter it may use the system."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidError(f"can't keep sockets in {directory}: {error.strerror}") from error


def _loop_factory(name: str | None) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if importlib.util.find_spec("uvloop") is not None:
        factory: Callable[[], asyncio.AbstractEventLoop]
        factory = importlib.import_module("uvloop").new_event_loop
        return factory
    if name == "uvloop":
        raise InvalidError("uvloop is not installed; it comes with the extra `fast`")
    return asyncio.SelectorEventLoop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Serve the system in a directory to other processes."
    )
    parser.add_argument("--path", required=True, help="the directory that the system is kept in")
    parser.add_argument("--sm", metavar="SOCKETS", help="serve this host, by sockets in there")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="serve any host, from this port on")
    parser.add_argument("--targets", type=int, help="number of targets of a new system")
    parser.add_argument("--memory", metavar="SIZE", default="64MiB", help="for payloads at work")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), help="the event loop")
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
