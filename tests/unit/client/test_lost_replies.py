"""Clients over connections that break: each change is made once, or not at all, and told so.

What was executed is counted in the store, by the epochs in its tree; no table of ids is asked.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from daos.base.errors import DER, DaosError, DeadlineError, ExistsError, TxUncertainError
from daos.base.hlc import Hlc
from daos.base.iod import Cond
from daos.cart.context import Context
from daos.cart.transport import Acceptor, Channel
from daos.cart.transport.inproc import InprocListener, InprocNetwork, LinkEnd
from daos.cart.wire import Endpoint
from daos.client.client import Client
from daos.client.container import Container
from daos.client.object import Object
from daos.embedded.system import System
from daos.testing.devices import MemoryDirectory
from tests.unit.embedded.cluster import SYSTEM, Cluster

# What a break takes with it: the request, or the reply to it.
Loss = Literal["request", "reply", None]
Choose = Callable[[], Loss]


class LossyNetwork:
    """Connections to targets that break when `choose` says so; others hold."""

    def __init__(self, network: InprocNetwork) -> None:
        self.network = network
        self.choose: Choose = lambda: None
        self.breaks = 0
        self.connects = 0  # to targets
        self.spares_services = True

    def listen(self, endpoint: Endpoint, acceptor: Acceptor) -> InprocListener:
        return self.network.listen(endpoint, acceptor)

    def connect(self, endpoint: Endpoint, channel: Channel) -> LinkEnd:
        if endpoint == SYSTEM and self.spares_services:
            return self.network.connect(endpoint, channel)
        self.connects += 1
        lossy = LossyChannel(self, channel)
        lossy.link = self.network.connect(endpoint, lossy)
        return lossy.link


class LossyChannel:
    """Between a link and the channel of a caller."""

    def __init__(self, network: LossyNetwork, channel: Channel) -> None:
        self.network = network
        self.channel = channel
        self.link: LinkEnd
        self.lose_reply = False
        self.scratch = memoryview(bytearray(1 << 16))

    def get_buffer(self, size_hint: int) -> memoryview:
        return self.scratch if self.lose_reply else self.channel.get_buffer(size_hint)

    def buffer_updated(self, nbytes: int) -> None:
        if self.lose_reply:
            self.cut()
        else:
            self.channel.buffer_updated(nbytes)

    def data_to_send(self, nbytes_max: int) -> Sequence[bytes | memoryview]:
        pieces = self.channel.data_to_send(nbytes_max)
        if not pieces:
            return pieces
        loss = self.network.choose()
        if loss == "request":
            self.cut()
            return ()
        self.lose_reply = self.lose_reply or loss == "reply"
        return pieces

    def data_sent(self) -> None:
        self.channel.data_sent()

    def connection_lost(self, error: DaosError | None) -> None:
        self.channel.connection_lost(error)

    def cut(self) -> None:
        self.network.breaks += 1
        self.link.close(DaosError("cut", code=DER.UNREACH))


class Script:
    """Losses one after the other; none when they are used up."""

    def __init__(self, *losses: Loss) -> None:
        self.losses = list(losses)

    def __call__(self) -> Loss:
        return self.losses.pop(0) if self.losses else None


class World:
    """A cluster of one target, with a container; clients over lossy connections."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.network = LossyNetwork(cluster.system.network)
        self.clients: list[Client] = []
        self.pool = b""

    def client(self) -> Client:
        """One more."""
        cluster = self.cluster
        context = Context(
            self.network,
            None,
            clock=cluster.clock,
            hlc=Hlc(cluster.clock),
            rng=cluster.rng,
            loop=asyncio.get_running_loop(),
        )
        client = Client(context, clock=cluster.clock, rng=cluster.rng, service=SYSTEM)
        self.clients.append(client)
        return client

    async def container(self) -> Container:
        """Through a client of its own."""
        pool = await self.client().pool("tank")
        self.pool = pool.uuid.bytes
        return await pool.container("c1")

    async def object(self) -> Object:
        container = await self.container()
        return await container.object(await container.new_oid(oclass="S1"))

    async def restart(self, *, evict: bool = False) -> None:
        """The system dies without a checkpoint, and comes back; clients live on."""
        cluster = self.cluster
        await cluster.system.stop(checkpoint=False)
        cluster.directory = MemoryDirectory(cluster.directory.images)
        cluster.system = await System.start(
            cluster.config,
            directory=cluster.directory,
            live_path=cluster.live_path / f"again-{cluster.rng.getrandbits(32)}",
            clock=cluster.clock,
            rng=cluster.rng,
            evict=evict,
        )
        self.network.network = cluster.system.network

    def epochs(self) -> list[int]:
        """Of every value, creation and punch, as the tree has them."""
        found = set[int]()
        for key, value in self.cluster.shard(self.pool).meta.cursor():
            if len(key) == 18:  # akey u64, ~epoch u64, ~minor u16
                found.add((1 << 64) - 1 - int.from_bytes(key[8:16], "big"))
            elif key[8] in (3, 4, 5):
                log = value[56 : 56 + int.from_bytes(value[48:50], "little")]
                for at in range(8, len(log), 16):
                    found.add(int.from_bytes(log[at : at + 8], "little"))
        return sorted(found)


@asynccontextmanager
async def world(live_path: Path) -> AsyncIterator[World]:
    async with Cluster(live_path, targets=1) as cluster:
        await (await cluster.pool()).create("c1")
        made = World(cluster)
        try:
            yield made
        finally:
            made.network.choose = Script()
            for client in made.clients:
                await client.close()


def in_world(body: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test over a World, from `async def test(world, ...)`."""

    @functools.wraps(body)
    def test(tmp_path: Path, **kwargs: object) -> None:
        async def run() -> None:
            async with world(tmp_path) as made:
                await body(made, **kwargs)

        asyncio.run(run())

    signature = inspect.signature(body)
    rest = [p for p in signature.parameters.values() if p.name != "world"]
    fixture = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = signature.replace(parameters=[fixture, *rest])  # type: ignore[attr-defined]
    return test


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it holds."""
    for _ in range(1_000_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never holds")


LOSSES = [("request",), ("reply",), ("reply", "reply"), ("request", "reply"), ("reply", "request")]


@pytest.mark.parametrize("loss", ["request", "reply"])
@in_world
async def test_what_is_closed_is_told_once_more(world: World, loss: Loss) -> None:
    """A handle that nobody has any more stayed open at its service."""
    witness = await world.client().pool("tank")
    world.network.spares_services = False
    pool = await world.client().pool("tank")
    container = await pool.container("c1")
    before = (await witness.query()).handles
    world.network.choose = Script(loss)
    await container.close()
    assert world.network.breaks == 1
    world.network.choose = Script(loss)
    await pool.close()
    assert world.network.breaks == 2
    assert (await witness.query()).handles == before - 1
    await witness.destroy_container("c1")  # BUSY, if it were open


@pytest.mark.parametrize("losses", LOSSES)
@pytest.mark.parametrize("value", [b"small", bytes(20_000)])
@in_world
async def test_an_update(world: World, losses: tuple[Loss, ...], value: bytes) -> None:
    obj = await world.object()
    world.network.choose = Script(*losses)
    await obj.update(b"d", b"a", value)
    assert world.network.breaks == len(losses)
    assert await obj.fetch(b"d", b"a") == value
    assert len(world.epochs()) == 1


@pytest.mark.parametrize("losses", LOSSES)
@in_world
async def test_punches(world: World, losses: tuple[Loss, ...]) -> None:
    obj = await world.object()
    for count, punch in enumerate(
        (
            lambda: obj.punch_akeys(b"d", [b"a"]),
            lambda: obj.punch_dkeys([b"d"]),
            lambda: obj.punch(),
            lambda: obj.punch(cond=Cond.PUNCH),
        ),
        start=1,
    ):
        await obj.update(b"d", b"a", b"x")
        world.network.choose = Script(*losses)
        await punch()
        assert await obj.fetch(b"d", b"a") is None
        assert len(world.epochs()) == 2 * count


@pytest.mark.parametrize("losses", LOSSES)
@in_world
async def test_an_insert_that_succeeded_does_not_hear_that_it_exists(
    world: World, losses: tuple[Loss, ...]
) -> None:
    obj = await world.object()
    world.network.choose = Script(*losses)
    await obj.update(b"d", b"a", b"x", cond=Cond.AKEY_INSERT)
    with pytest.raises(ExistsError):
        await obj.update(b"d", b"a", b"y", cond=Cond.AKEY_INSERT)
    assert await obj.fetch(b"d", b"a") == b"x"
    assert len(world.epochs()) == 1


@in_world
async def test_reads_are_tried_again(world: World) -> None:
    obj = await world.object()
    await obj.update(b"d", b"a", b"x")
    world.network.choose = Script("reply", "request", None, "reply", None, "request")
    assert await obj.fetch(b"d", b"a") == b"x"
    assert [key async for key in obj.dkeys()] == [b"d"]
    assert [key async for key in obj.akeys(b"d")] == [b"a"]
    assert world.network.breaks == 4


@in_world
async def test_what_is_asked_of_every_target_is_tried_again(world: World) -> None:
    container = await world.container()
    epoch = await container.snapshot("before")
    obj = await container.object(await container.new_oid(oclass="S1"))
    await obj.update(b"d", b"a", b"x")
    world.network.choose = Script("reply", "request", None, "request", "reply")
    assert [oid async for oid in container.objects()] == [obj.oid]
    assert [(change.oid, change.kind) async for change in container.diff(epoch)] == [
        (obj.oid, "created")
    ]
    assert world.network.breaks == 4


@in_world
async def test_a_restart_between_the_change_and_its_answer(world: World) -> None:
    obj = await world.object()
    losses: list[Loss] = ["reply"]
    restarting = asyncio.Event()

    def choose() -> Loss:
        if losses:
            restarting.set()
            return losses.pop()
        return None

    world.network.choose = choose
    writing = asyncio.ensure_future(obj.update(b"d", b"a", b"x", cond=Cond.DKEY_INSERT))
    await restarting.wait()
    await until(lambda: bool(world.epochs()))
    await world.restart()
    await writing
    assert await obj.fetch(b"d", b"a") == b"x"
    assert len(world.epochs()) == 1


@in_world
async def test_a_restart_that_forgets_the_handle_leaves_it_open(world: World) -> None:
    obj = await world.object()
    assert await obj.fetch(b"d", b"a") is None  # the target has met the handle
    world.network.choose = Script("reply")
    writing = asyncio.ensure_future(obj.update(b"d", b"a", b"x"))
    await until(lambda: bool(world.epochs()))
    await world.restart(evict=True)
    with pytest.raises(TxUncertainError, match="handle"):
        await writing
    assert len(world.epochs()) == 1


@in_world
async def test_services_are_asked_again(world: World) -> None:
    world.network.spares_services = False
    container = await world.container()
    asked: list[Callable[[], Coroutine[Any, Any, object]]] = [
        container.query,
        container.props.items,
        container.attrs.items,
        container.snapshots,
        lambda: container.new_oid(oclass="S1"),
    ]
    for ask in asked:
        world.network.choose = Script("reply", "request")
        await ask()
    await world.cluster.system.stop(checkpoint=False)
    calls = [asyncio.ensure_future(ask()) for ask in asked]
    before = world.network.connects
    await until(lambda: world.network.connects > before + 4)
    await world.restart()
    for call in calls:
        await call
    assert world.network.breaks == 2 * len(asked)


@in_world
async def test_connections_that_always_break(world: World) -> None:
    obj, clock = await world.object(), world.cluster.clock
    for loss, count in (("reply", 1), ("request", 1)):

        def choose(loss: Loss = loss) -> Loss:
            clock.advance(20)
            return loss

        world.network.choose = choose
        with pytest.raises(TxUncertainError) as caught:
            await obj.update(b"d", b"a", b"x")
        assert caught.value.code is DER.TX_UNCERTAIN
        assert len(world.epochs()) == count
    world.network.choose = Script()
    await obj.update(b"d", b"a", b"y")
    assert await obj.fetch(b"d", b"a") == b"y"


@in_world
async def test_nobody_listens(world: World) -> None:
    obj, clock = await world.object(), world.cluster.clock
    await world.cluster.system.stop()
    writing = asyncio.ensure_future(obj.update(b"d", b"a", b"x"))
    reading = asyncio.ensure_future(obj.fetch(b"d", b"a"))
    await until(lambda: world.network.connects >= 4)
    clock.advance(61)
    for call in (writing, reading):
        with pytest.raises(DeadlineError, match="nobody listens"):
            await call


@in_world
async def test_a_caller_that_gives_up(world: World) -> None:
    obj = await world.object()
    world.network.choose = Script(*["request"] * 3)
    writing = asyncio.ensure_future(obj.update(b"d", b"a", b"x"))
    await until(lambda: world.network.breaks > 0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    world.network.choose = Script()
    await obj.update(b"d", b"a", b"y")
    assert len(world.epochs()) == 1


@pytest.mark.parametrize("seed", range(4))
@in_world
async def test_clients_that_race(world: World, seed: int) -> None:
    """Several clients change the same keys over bad connections; every change is counted."""
    rng = random.Random(seed)
    objects = [await world.object()]
    oid = objects[0].oid
    objects += [await (await world.container()).object(oid) for _ in range(2)]
    rate = rng.choice((0.2, 0.4))
    world.network.choose = lambda: rng.choice(("request", "reply")) if rng.random() < rate else None
    made = 0
    winners: dict[bytes, list[bytes]] = {}

    async def work(number: int) -> None:
        nonlocal made
        obj = objects[number]
        for step in range(25):
            dkey = b"%d" % (step % 5)
            value = b"%d-%d" % (number, step)
            kind = rng.randrange(4)
            try:
                if kind == 0:
                    await obj.update(b"i%d" % step, b"a", value, cond=Cond.DKEY_INSERT)
                    winners.setdefault(b"i%d" % step, []).append(value)
                elif kind == 1:
                    await obj.punch_dkeys([dkey])
                else:
                    await obj.update(dkey, b"a", value)
                made += 1
            except ExistsError:
                pass

    await asyncio.gather(*(work(number) for number in range(3)))
    world.network.choose = Script()
    assert world.network.breaks
    assert len(world.epochs()) == made
    for dkey, values in winners.items():
        assert len(values) == 1
        assert await objects[0].fetch(dkey, b"a") == values[0]
