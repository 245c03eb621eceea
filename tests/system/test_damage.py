"""One bit turned over on the way, or in memory that client and server share: who finds it.

The container has the default properties, so no checksum at rest: values carry one on their way all
the same. Headers and bodies have sums of their own; what fails them ends the connection, and the
request is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

import daos
from daos.base.errors import ChecksumError
from daos.cart.transport import Acceptor, Channel, Link, Listener, Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.cart.wire import HEADER_SIZE, Endpoint, Header
from daos.client.kv import KeyValue
from daos.embedded.local import make_config, start_in
from daos.embedded.remote import connect
from daos.object import client as object_client
from daos.testing.served import Served

MiB = 1 << 20
PARTS = ("header", "body", "payload")


class Damaging:
    """A `Transport` that turns one bit over when it is told to, in one of both directions."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self._part = ""
        self._up = True
        self.damaged = 0

    def damage(self, part: str, *, up: bool) -> None:
        """In the next frame that has such a part; `up`: from client to target."""
        self._part, self._up = part, up

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> Listener:
        return self._inner.listen(endpoint, lambda link: self._wrap(acceptor(link), up=False))

    def connect(self, endpoint: Endpoint, channel: Channel) -> Link:
        return self._inner.connect(endpoint, self._wrap(channel, up=True))

    def _wrap(self, channel: Channel, *, up: bool) -> Channel:
        pull = channel.data_to_send

        def data_to_send(nbytes_max: int) -> Sequence[bytes | memoryview]:
            pieces = pull(nbytes_max)
            if not pieces or not self._part or self._up is not up:
                return pieces
            return [self._flip(bytearray().join(pieces))]

        channel.data_to_send = data_to_send  # type: ignore[method-assign]
        return channel

    def _flip(self, raw: bytearray) -> bytes:
        at = 0
        while at < len(raw):
            header = Header.parse(raw, at)
            body, payload = at + HEADER_SIZE, at + HEADER_SIZE + header.body_size
            places = {
                "header": at + 60,
                "body": body + header.body_size // 2 if header.body_size else 0,
                "payload": payload + header.payload_size // 2 if header.payload_size else 0,
            }
            if place := places[self._part]:
                raw[place] ^= 0x10
                self._part = ""
                self.damaged += 1
                break
            at = payload + header.payload_size
        return bytes(raw)


def run(path: Path, scenario: Callable[[Damaging, KeyValue[bytes]], Awaitable[None]]) -> None:
    async def main() -> None:
        network = Damaging(InprocNetwork(asyncio.get_running_loop()))
        config = make_config(targets=1, timeout=20.0)
        system = await start_in(path, config, network=network)
        await system.admin.pool_create("tank", "64MiB")
        client = await system.connect()
        pool = await client.pool("tank")
        kv = await (await pool.create_container("c1")).kv()
        await scenario(network, kv)
        await system.stop()

    asyncio.run(main())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("nbytes", [100, 4096, MiB])
def test_on_the_way_to_a_target(tmp_path: Path, nbytes: int, part: str) -> None:
    async def scenario(network: Damaging, kv: KeyValue[bytes]) -> None:
        await kv.put("key", b"old")
        network.damage(part, up=True)
        value = bytes(range(250)) * (nbytes // 250 + 1)
        if part == "payload":
            with pytest.raises(ChecksumError):
                await kv.put("key", value)
            assert await kv.get("key") == b"old"
        await kv.put("key", value)
        assert network.damaged == 1
        assert await kv.get("key") == value

    run(tmp_path, scenario)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("nbytes", [100, 4096, MiB])
def test_on_the_way_back(tmp_path: Path, nbytes: int, part: str) -> None:
    async def scenario(network: Damaging, kv: KeyValue[bytes]) -> None:
        value = bytes(range(250)) * (nbytes // 250 + 1)
        await kv.put("key", value)
        network.damage(part, up=False)
        if part == "payload":
            with pytest.raises(ChecksumError):
                await kv.get("key")
        assert await kv.get("key") == value
        assert network.damaged == 1

    run(tmp_path, scenario)


def test_in_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stray write into registered memory, after its checksum and before the target reads it."""
    with (
        Served(tmp_path, "--targets", "1") as served,
        connect(served.address) as system,
        system.connect() as client,
    ):
        system.admin.pool_create("tank", "64MiB")
        array = client.pool("tank").create_container("c1").array()
        buffer = client.buffer(MiB)
        view = memoryview(buffer)
        view[:] = bytes(range(256)) * (MiB // 256)
        compute = object_client.compute

        def then_damage(kind: object, value: memoryview) -> bytes:
            checksum = compute(kind, value)  # type: ignore[arg-type]
            view[777] ^= 1
            return checksum

        with monkeypatch.context() as patch:
            patch.setattr(object_client, "compute", then_damage)
            with pytest.raises(daos.ChecksumError):
                array.write(0, buffer)
        view[777] ^= 1
        array.write(0, buffer)
        assert bytes(array.read(0, MiB)) == bytes(range(256)) * (MiB // 256)
