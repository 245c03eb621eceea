"""Who says that it is an engine has to know the system's key."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from daos.base.clock import SystemClock
from daos.base.errors import DER, AccessError, DaosError
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint
from daos.cart.proof import KEY_SIZE, PROOF_NS, PROVE, check, prove
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport.ranks import Places, RankNetwork, RankUri
from daos.cart.wire import Header, checksum

KEY = bytes(range(KEY_SIZE))
OTHER_KEY = bytes(KEY_SIZE)
SERVER = Endpoint(Rank(0), Tag(1))
ENGINE = Endpoint(Rank(1), Tag(2))


class Text(msgspec.Struct, array_like=True, frozen=True):
    text: str


WHO = Procedure("who", opcode(61, 1, 0), Text, Text)


class MovedClock(SystemClock):
    """Ahead by what a test says."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.ahead_ns


def scenario(
    directory: Path,
    work: Callable[[Callable[..., Context]], Awaitable[None]],
    given: SystemClock | None = None,
) -> None:
    async def main() -> None:
        places = Places()
        uri = RankUri(directory)
        places.update(1, {Rank(0): uri, Rank(1): uri})
        contexts: list[Context] = []
        clock = given or SystemClock()

        def context(endpoint: Endpoint | None, key: bytes | None) -> Context:
            made = Context(
                # Each as in a process of its own.
                RankNetwork(asyncio.get_running_loop(), places, uri),
                endpoint,
                clock=clock,
                hlc=Hlc(clock),
                rng=random.Random(),
                loop=asyncio.get_running_loop(),
                key=key,
            )
            contexts.append(made)
            return made

        server = context(SERVER, KEY)
        server.serve(WHO, lambda rpc: rpc.reply(Text(str(rpc.source))))
        server.listen()
        try:
            await work(context)
        finally:
            for each in contexts:
                await each.close()

    asyncio.run(main())


async def ask(context: Context) -> str:
    deadline_ns = SystemClock().now_ns() + 10_000_000_000
    return (await context.call(SERVER, WHO, Text(""), deadline_ns=deadline_ns)).text


def test_an_engine_is_who_it_says_it_is(tmp_path: Path) -> None:
    async def work(context: Callable[..., Context]) -> None:
        engine = context(ENGINE, KEY)
        assert await ask(engine) == await ask(engine) == str(ENGINE)

    scenario(tmp_path, work)


@pytest.mark.parametrize("key", [None, OTHER_KEY])
def test_who_does_not_know_the_key_is_no_engine(tmp_path: Path, key: bytes | None) -> None:
    async def work(context: Callable[..., Context]) -> None:
        liar = context(ENGINE, key)
        for _ in range(2):
            with pytest.raises(AccessError, match="a peer says it is rank 1, and has not shown"):
                await ask(liar)

    scenario(tmp_path, work)


def test_a_client_needs_no_key(tmp_path: Path) -> None:
    async def work(context: Callable[..., Context]) -> None:
        assert await ask(context(None, None)) == "a client"

    scenario(tmp_path, work)


def test_a_client_does_not_become_an_engine_later(tmp_path: Path) -> None:
    """Neither by another source in a later frame, nor by a proof that comes late."""

    async def work(context: Callable[..., Context]) -> None:
        client = context(None, None)
        before = await ask(client)
        session = client._routes[SERVER].session
        session._route = (*SERVER, *ENGINE)  # of all frames from now on
        assert await ask(client) == before
        deadline_ns = SystemClock().now_ns() + PROOF_NS
        request = prove(KEY, ENGINE, SERVER, deadline_ns)
        with pytest.raises(AccessError, match="has asked before"):
            await client.call(SERVER, PROVE, request, deadline_ns=deadline_ns)

    scenario(tmp_path, work)


def test_a_proof_for_another_is_none(tmp_path: Path) -> None:
    """Who overheard what an engine showed to one target does not get in at another."""

    async def work(context: Callable[..., Context]) -> None:
        other = Endpoint(Rank(0), Tag(2))
        server = context(other, KEY)
        server.serve(WHO, lambda rpc: rpc.reply(Text(str(rpc.source))))
        server.listen()
        thief = context(None, None)
        deadline_ns = SystemClock().now_ns() + PROOF_NS
        overheard = prove(KEY, ENGINE, SERVER, deadline_ns)
        session = thief._connect(other).session
        session._route = (*SERVER, *ENGINE)
        with pytest.raises(DaosError, match="the request is for") as caught:
            await thief.call(other, PROVE, overheard, deadline_ns=deadline_ns)
        assert caught.value.code is DER.BAD_TARGET
        session._route = (*other, *ENGINE)
        with pytest.raises(AccessError, match="a peer says it is rank 1"):
            await thief.call(other, WHO, Text(""), deadline_ns=deadline_ns)

    scenario(tmp_path, work)


@pytest.mark.parametrize("answered", [True, False])
def test_a_proof_that_comes_too_late_is_shown_again(tmp_path: Path, answered: bool) -> None:
    """Whoever was stopped for a minute reads what was sent to it before: that connection is over,
    not each that comes later."""
    clock = MovedClock()

    async def work(context: Callable[..., Context]) -> None:
        engine = context(ENGINE, KEY)
        late_ns = clock.now_ns() + 10 * PROOF_NS
        asking = asyncio.ensure_future(engine.call(SERVER, WHO, Text(""), deadline_ns=late_ns))
        await asyncio.sleep(0)
        assert engine.statistics().calls == 2
        clock.ahead_ns = 2 * PROOF_NS
        if not answered:
            engine._expire()
        with pytest.raises(DaosError) as caught:
            await asking
        # It was asked behind the proof, and refused with it.
        assert caught.value.code is (DER.NO_PERM if answered else DER.UNREACH)
        answer = await engine.call(SERVER, WHO, Text(""), deadline_ns=late_ns)
        assert answer.text == str(ENGINE)

    scenario(tmp_path, work, clock)


def header(body: bytes, deadline_ns: int, source: Endpoint = ENGINE) -> Header:
    return Header(
        flags=0,
        opcode=PROVE.opcode,
        status=0,
        rpc_id=1,
        rank=SERVER.rank,
        tag=SERVER.tag,
        source_rank=source.rank,
        source_tag=source.tag,
        deadline_ns=deadline_ns,
        trace_id=0,
        payload_size=0,
        body_size=len(body),
        body_sum=checksum(body),
        epoch=0,
    )


NOW_NS = 1_800_000_000_000_000_000
GOOD = PROVE.encode(prove(KEY, ENGINE, SERVER, NOW_NS + PROOF_NS))


def test_a_proof_is_of_one_caller_and_one_moment() -> None:
    check(KEY, header(GOOD, NOW_NS + PROOF_NS), GOOD, NOW_NS)
    for key, head, body, now_ns in (
        (OTHER_KEY, header(GOOD, NOW_NS + PROOF_NS), GOOD, NOW_NS),
        (None, header(GOOD, NOW_NS + PROOF_NS), GOOD, NOW_NS),
        (KEY, header(GOOD, NOW_NS + PROOF_NS + 1), GOOD, NOW_NS),
        (KEY, header(GOOD, NOW_NS + PROOF_NS, SERVER), GOOD, NOW_NS),
        (KEY, header(b"\x90", NOW_NS + PROOF_NS), b"\x90", NOW_NS),
        (KEY, header(b"", NOW_NS + PROOF_NS), b"", NOW_NS),
        # Far ahead: it would be good for as long.
        (KEY, header(GOOD, NOW_NS + PROOF_NS), GOOD, NOW_NS - 10 * PROOF_NS),
    ):
        with pytest.raises(DaosError) as caught:
            check(key, head, body, now_ns)
        assert caught.value.code is DER.NO_PERM
    zero = PROVE.encode(prove(OTHER_KEY, ENGINE, SERVER, NOW_NS + PROOF_NS))
    with pytest.raises(AccessError):  # no key is not the key of zeros
        check(None, header(zero, NOW_NS + PROOF_NS), zero, NOW_NS)


def test_the_proof_on_the_wire() -> None:
    """The example of docs/format/rpc_frame.md, computed by hand with `b2sum`'s algorithm."""
    words = bytes.fromhex("01000000 02000000 00000000 01000000")
    moment = (NOW_NS + PROOF_NS).to_bytes(8, "little")
    proof = hashlib.blake2b(words + moment, key=KEY, digest_size=32, person=b"daos cart prove")
    assert bytes.fromhex("91c420") + proof.digest() == GOOD
