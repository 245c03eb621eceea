"""A served system under peers that send garbage, while an honest client works.

    .venv/bin/python -m tests.fuzz.listeners --seconds 300 [--seed 7]

What a client sends is recorded first. Then, by seed, peers without manners connect over TCP and
Unix sockets and send what was recorded: cut off, with bits turned over, with sizes, opcodes and
addresses of their own, with sums put right so that it reaches the services, or noise; and leave in
order, by a reset, or not at all for a while. Between them the honest client writes and reads back.

The judge is outside: the honest client's values and deadlines, the memory of the server as the
kernel counts it, and its standard error, where a bug would be logged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import struct
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from daos.cart.transport import Acceptor, Channel, Link, Listener, Transport
from daos.cart.transport.wire import emit_greeting
from daos.cart.wire import HEADER_SIZE, Endpoint, Header, checksum
from daos.client.kv import KeyValue
from daos.embedded.remote import AsyncRemoteSystem, async_connect
from daos.mgmt.wire import POOL_CREATE
from daos.testing.kits.transport_peers import loopback_hosts
from daos.testing.served import Served

TARGETS: Final = 2
POOL: Final = "256MiB"
DEADLINE_S: Final = 20.0
HELD_MAX: Final = 32  # connections that stay open for a while
RSS_GROWTH_MAX: Final = 48 << 20
_RESET: Final = struct.pack("ii", 1, 0)


class Sent(NamedTuple):
    """A frame that a client sent."""

    endpoint: Endpoint
    header: Header
    body: bytes
    payload: bytes


class Outcome(NamedTuple):
    """What a run did; it raises where the server failed."""

    attacks: Counter[str]
    honest: int  # values written and read back
    rss_growth: int


class Recorder:
    """A `Transport` that keeps what passes through it."""

    def __init__(self, inner: Transport, sent: list[Sent]) -> None:
        self._inner = inner
        self._sent = sent

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> Listener:
        return self._inner.listen(endpoint, acceptor)

    def connect(self, endpoint: Endpoint, channel: Channel) -> Link:
        pull = channel.data_to_send

        def data_to_send(nbytes_max: int) -> Sequence[bytes | memoryview]:
            pieces = pull(nbytes_max)
            raw = b"".join(map(bytes, pieces))
            while raw:
                header = Header.parse(raw)
                end = HEADER_SIZE + header.body_size
                whole = end + header.payload_size
                self._sent.append(Sent(endpoint, header, raw[HEADER_SIZE:end], raw[end:whole]))
                raw = raw[whole:]
            return pieces

        channel.data_to_send = data_to_send  # type: ignore[method-assign]
        return self._inner.connect(endpoint, channel)


class Fuzzer:
    """The peers without manners."""

    def __init__(self, rng: random.Random, sent: list[Sent], served: Served, host: str) -> None:
        self._rng = rng
        self._sent = [each for each in sent if each.header.opcode != POOL_CREATE.opcode]
        self._directory = served.directory / "s"
        self._host = host
        self._held: deque[socket.socket] = deque()
        self._rpc_id = 1 << 40
        self.attacks: Counter[str] = Counter()

    def attack(self) -> None:
        """One connection, and what it sends."""
        rng = self._rng
        each = rng.choice(self._sent)
        tag = each.endpoint.tag if rng.random() < 0.9 else rng.randint(0, TARGETS)
        with contextlib.suppress(OSError):  # the server has every right to hang up
            peer = self._over_sm(tag) if rng.random() < 0.5 else self._over_tcp(tag)
            peer.setblocking(False)
            with contextlib.suppress(OSError):
                for _ in range(rng.choice((1, 1, 1, 3, 10))):
                    peer.send(self._bytes(rng.choice(self._sent)))
            self._leave(peer)

    def close(self) -> None:
        while self._held:
            self._held.popleft().close()

    def _bytes(self, each: Sent) -> bytes:
        rng = self._rng
        kind = rng.choice(("noise", "cut", "flip", "body", "body", "payload", "fields", "whole"))
        self.attacks[kind] += 1
        if kind == "noise":
            return rng.randbytes(rng.choice((1, 95, 96, 500, 5000)))
        header, body, payload = each.header, bytearray(each.body), bytearray(each.payload)
        self._rpc_id += 1
        header = replace(
            header,
            rpc_id=self._rpc_id,
            deadline_ns=time.time_ns() + rng.choice((-1, 1, 5)) * 10**9,
        )
        if kind == "body":
            self._damage(body)
        elif kind == "payload":
            self._damage(payload)
        elif kind == "fields":
            name = rng.choice(header.__struct_fields__)
            header = replace(header, **{name: self._number(name)})
        if kind in ("body", "payload"):
            header = replace(header, body_size=len(body), payload_size=len(payload))
        raw = bytearray(replace(header, body_sum=checksum(bytes(body))).emit() + body + payload)
        if kind == "flip":
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del raw[rng.randrange(len(raw)) :]
        return bytes(raw)

    def _damage(self, data: bytearray) -> None:
        rng = self._rng
        for _ in range(rng.choice((1, 1, 2, 8))):
            what = rng.randrange(4)
            at = rng.randrange(len(data) + 1)
            if what == 0:
                data[at:at] = rng.randbytes(rng.choice((1, 3, 40)))
            elif what == 1:
                del data[at : at + rng.choice((1, 5, 60))]
            elif data:
                at = min(at, len(data) - 1)
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xDC, 0xFF, rng.randrange(256)))

    def _number(self, name: str) -> int:
        small = name in ("flags", "opcode", "status", "rank", "tag", "source_rank", "source_tag")
        bits = 16 if name == "flags" else 32 if small else 64
        return self._rng.choice(
            (0, 1, 2, 1 << (bits - 1), (1 << bits) - 1, self._rng.getrandbits(bits))
        )

    def _over_tcp(self, tag: int) -> socket.socket:
        peer = socket.socket()
        peer.settimeout(DEADLINE_S)
        peer.connect((self._host, 31416 + tag))
        return peer

    def _over_sm(self, tag: int) -> socket.socket:
        rng = self._rng
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(DEADLINE_S)
        peer.connect(str(self._directory / f"0.{tag}"))
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with here, there:
            greeting = bytearray(emit_greeting())
            if rng.random() < 0.2:
                self.attacks["greeting"] += 1
                self._damage(greeting)
            fds = [there.fileno()] if rng.random() < 0.9 else []
            socket.send_fds(peer, [bytes(greeting) or b"x"], fds)
            if rng.random() < 0.2:
                self.attacks["offer"] += 1
                here.send(rng.randbytes(rng.choice((1, 24, 300))))
        return peer

    def _leave(self, peer: socket.socket) -> None:
        how = self._rng.randrange(4)
        if how == 0:
            self._held.append(peer)
            if len(self._held) > HELD_MAX:
                self._held.popleft().close()
            return
        if how == 1:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        peer.close()


async def record(system: AsyncRemoteSystem) -> list[Sent]:
    """A session with every kind of request, in a pool of its own."""
    sent: list[Sent] = []
    assert system._transport is not None
    plain, system._transport = system._transport, Recorder(system._transport, sent)
    await system.admin.pool_create("victim", POOL)
    await system.admin.pool_list()
    client = await system.connect()
    pool = await client.pool("victim")
    container = await pool.create_container("c1")
    await pool.query()
    await container.query()
    kv = await container.kv()
    for number in range(10):
        await kv.put(f"key-{number}", bytes(range(256)) * number)
        await kv.get(f"key-{number}")
    array = await container.array()
    await array.write(1000, b"some bytes" * 1000)
    await array.read(0, 5000)
    async for _ in kv:
        pass
    await kv.remove("key-3")
    await container.snapshot("s1")
    async for _ in container.objects():
        pass
    system._transport = plain
    return sent


async def honest(kv: KeyValue, rng: random.Random, number: int) -> None:
    """Write a value, read it back, by the deadline."""
    value = rng.randbytes(rng.choice((1, 100, 4096, 100_000)))
    await kv.put(f"k{number % 50}", value, timeout=DEADLINE_S)
    assert await kv.get(f"k{number % 50}", timeout=DEADLINE_S) == value


async def fuzz(served: Served, host: str, rng: random.Random, seconds: float) -> Outcome:
    """Attack for so long."""
    async with contextlib.AsyncExitStack() as stack:
        systems = [await stack.enter_async_context(async_connect(a)) for a in served.addresses]
        sent = await record(systems[0])
        await systems[0].admin.pool_create("tank", POOL)
        stores = []
        for number, system in enumerate(systems):
            pool = await (await system.connect()).pool("tank")
            stores.append(await (await pool.create_container(f"c{number}")).kv())
        fuzzer = Fuzzer(rng, sent, served, host)
        stack.callback(fuzzer.close)
        ends, rounds, before = time.monotonic() + seconds, 0, 0
        while time.monotonic() < ends:
            for _ in range(20):
                fuzzer.attack()
            await honest(stores[rounds % len(stores)], rng, rounds)
            rounds += 1
            if rounds == 10:
                before = rss(served)
        growth = rss(served) - before
        assert growth < RSS_GROWTH_MAX, f"the server has grown by {growth} bytes"
        return Outcome(fuzzer.attacks, rounds, growth)


def rss(served: Served) -> int:
    """Resident bytes of the server."""
    assert served.process is not None
    text = Path(f"/proc/{served.process.pid}/statm").read_text()
    return int(text.split()[1]) * 4096


def run(directory: Path, seed: int, seconds: float) -> Outcome:
    """Start a server, attack it, stop it in order; it has nothing to say."""
    host = next(loopback_hosts())
    sockets = ("--sm", str(directory / "s"))
    served = Served(directory, "--targets", str(TARGETS), *sockets, tcp=f"{host}:31416")
    served.start()
    try:
        outcome = asyncio.run(fuzz(served, host, random.Random(seed), seconds))
    finally:
        status, text = served.stop()
    assert not text, text[:4000]
    assert status == 0
    return outcome


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daos-") as place:
        print(run(Path(place), options.seed, options.seconds))
