"""Whatever a peer sends, a service answers: a reply or a DER code, never a bug, and goes on.

Requests are made of the right shapes with wild contents, and sent to a running system from an
engine's endpoint, so that nothing is refused for its sender alone. What damaged records do to a
reader is tried on every struct that is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import types
import typing
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import NoneType
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daos.base.errors import CorruptError, DaosError
from daos.base.iod import Iod, IodType, Recx
from daos.cart.context import Context
from daos.cart.protocol import Procedure
from daos.container import wire as cont_wire
from daos.container.records import ContainerMeta
from daos.container.records import HandleRecord as ContainerHandleRecord
from daos.engine import iv_wire
from daos.mgmt import wire as mgmt_wire
from daos.mgmt.core import PoolRecord
from daos.mgmt.store import MembersRecord, SystemRecord
from daos.object import wire as obj_wire
from daos.pool import wire as pool_wire
from daos.pool.records import parse_record
from daos.pool.server import HandleRecord, PoolMeta
from tests.unit.embedded.cluster import Cluster, code_of, endpoint, new_id, oid_of
from tests.unit.embedded.test_access import requests

RECORDS = (
    PoolMeta,
    HandleRecord,
    ContainerMeta,
    ContainerHandleRecord,
    PoolRecord,
    SystemRecord,
    MembersRecord,
)
SYSTEM_CALLS = [
    procedure
    for protocol in (iv_wire.PROTOCOL, mgmt_wire.PROTOCOL, pool_wire.PROTOCOL, cont_wire.PROTOCOL)
    for procedure in protocol.procedures
    if "tgt" not in procedure.name
    # These do what they are told, to whatever pool: they would end the test's own.
    and procedure.name not in {"pool_svc_destroy", "pool_evict", "mgmt_pool_create"}
]
OBJECT_CALLS = obj_wire.PROTOCOL.procedures
TARGET_CALLS = [
    procedure
    for protocol in (pool_wire.PROTOCOL, cont_wire.PROTOCOL)
    for procedure in protocol.procedures
    if "tgt" in procedure.name
]

# Ids that exist, ids that don't, ids that are none.
POOL, POOL_HANDLE, CONTAINER, HANDLE = (new_id(n) for n in (1000, 1001, 1002, 1003))
ids = st.sampled_from((POOL, POOL_HANDLE, CONTAINER, HANDLE, new_id(5), b"", b"short", bytes(17)))
blobs = ids | st.binary(max_size=40) | st.just(bytes(3000))
names = st.sampled_from(("tank", "c1", "label", "r", "rw", "ex", "space_rb", "")) | st.text(
    max_size=30
)
numbers = (
    st.integers(-3, 300)
    | st.sampled_from((1 << 31, 1 << 32, 1 << 53, 1 << 63, (1 << 64) - 1, -(1 << 63)))
    | st.sampled_from((oid_of().hi, oid_of().lo, 1 << 20, 65535))
)


def values(kind: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401  # a type annotation
    """Anything that travels as this type."""
    if kind is Recx:
        return st.builds(Recx, numbers, numbers)
    if kind is Iod:
        kinds = st.sampled_from(tuple(IodType))
        return st.builds(
            Iod, blobs, kinds, numbers, st.tuples() | values(tuple[Recx, ...]), numbers
        )
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return messages(kind)
    plain = {bytes: blobs, str: names, int: numbers, bool: st.booleans()}
    if kind in plain:
        return plain[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(st.none(), *(values(each) for each in arguments if each is not NoneType))
    if origin is typing.Annotated:
        return values(arguments[0])
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*(values(each) for each in arguments))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    assert origin is dict, kind
    return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)


def messages(kind: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, *(values(hints[name]) for name in kind.__struct_fields__))


def nearly(data: st.DataObject, request: msgspec.Struct) -> msgspec.Struct:
    """`request` with a field or two that are anything."""
    hints = typing.get_type_hints(type(request))
    fields = request.__struct_fields__
    wild: dict[str, object] = {}
    for name in data.draw(st.lists(st.sampled_from(fields), max_size=2)):
        value = getattr(request, name)
        if isinstance(value, msgspec.Struct) and data.draw(st.booleans()):
            wild[name] = nearly(data, value)
        else:
            wild[name] = data.draw(values(hints[name]))
    return msgspec.structs.replace(request, **wild)


def draw_request(data: st.DataObject, procedure: Procedure[Any, Any]) -> Any:  # noqa: ANN401
    """Anything, or more often: a good request with something wrong."""
    good = requests(POOL, POOL_HANDLE, HANDLE).get(procedure.name)
    if good is None or data.draw(st.integers(0, 3)) == 0:
        return data.draw(messages(procedure.request))
    assert isinstance(good, msgspec.Struct)
    return nearly(data, good)


class Peer:
    """An engine's context beside a running system, kept over all examples of a test."""

    def __init__(self, loop: asyncio.AbstractEventLoop, cluster: Cluster) -> None:
        self.loop = loop
        self.cluster = cluster
        self.context: Context
        self.answers: Counter[str] = Counter()

    async def prepare(self) -> None:
        await self.cluster.start()
        self.context = self.cluster.client_context(endpoint(99))
        await self.cluster.create_pool(uuid=POOL)
        pool = await self.cluster.connect(POOL)
        await pool.create("c1", uuid=CONTAINER)
        await self.again()

    async def again(self) -> None:
        """Open what an example may have closed."""
        request = pool_wire.ConnectRequest(POOL, POOL_HANDLE, new_id(1), "rw")
        with contextlib.suppress(DaosError):
            await self.cluster.call(pool_wire.CONNECT, request)
        opening = cont_wire.OpenRequest(POOL, POOL_HANDLE, "c1", HANDLE, "rw")
        with contextlib.suppress(DaosError):
            await self.cluster.call(cont_wire.OPEN, opening)

    async def send(
        self, procedure: Procedure[Any, Any], request: object, tag: int, payload: bytes = b""
    ) -> None:
        call = self.cluster.call(
            procedure,
            request,
            to=endpoint(tag),
            context=self.context,
            payload=[memoryview(payload)] if payload else (),
            into=lambda _reply, size: [memoryview(bytearray(size))],
        )
        code = await code_of(call)
        self.answers[code] += 1
        assert code not in {"MISC", "NOREPLY"}, (procedure, request)

    def run(self, call: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(call)

    def check(self) -> None:
        bugs = [self.cluster.system.engine.xstream.context.statistics().bugs]
        bugs += [target.xstream.context.statistics().bugs for target in self.cluster.targets]
        assert not any(bugs)
        assert not any(target._stopped for target in self.cluster.targets)


@contextlib.contextmanager
def a_system() -> Iterator[Peer]:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as live:
        peer = Peer(loop, Cluster(Path(live)))
        try:
            loop.run_until_complete(peer.prepare())
            yield peer
            peer.check()
            assert peer.answers["SUCCESS"] > 20, "the examples test too little"
            loop.run_until_complete(peer.context.close())
            loop.run_until_complete(peer.cluster.stop(checkpoint=False))
        finally:
            loop.close()


def examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=number, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )


def test_services_answer_whatever_comes() -> None:
    with a_system() as peer:

        @examples(300)
        @given(st.data())
        def run(data: st.DataObject) -> None:
            procedure = data.draw(st.sampled_from(SYSTEM_CALLS))
            peer.run(peer.send(procedure, draw_request(data, procedure), 0))
            peer.run(peer.again())
            peer.check()

        run()
        peer.loop.run_until_complete(peer.cluster.list_pools())


def test_targets_answer_whatever_comes() -> None:
    with a_system() as peer:

        @examples(500)
        @given(st.data())
        def run(data: st.DataObject) -> None:
            procedure = data.draw(st.sampled_from(OBJECT_CALLS))
            request = draw_request(data, procedure)
            payload = b""
            if procedure is obj_wire.UPDATE:
                nbytes = sum(iod.nbytes for iod in request.iods)
                if 0 < nbytes < 1 << 16 and data.draw(st.booleans()):
                    payload = bytes(nbytes)
                else:
                    payload = data.draw(st.binary(max_size=300))
            peer.run(peer.send(procedure, request, 1, payload))
            peer.check()

        run()
        peer.run(peer.send(obj_wire.PUNCH, obj_wire.PunchRequest(_good_address()), 1))


def test_targets_answer_whatever_services_ask() -> None:
    with a_system() as peer:

        @examples(200)
        @given(st.data())
        def run(data: st.DataObject) -> None:
            procedure = data.draw(st.sampled_from(TARGET_CALLS))
            request = draw_request(data, procedure)
            # An engine is believed about epochs: one far ahead would move the clock there.
            if procedure is cont_wire.TGT_SNAPSHOT:
                request = msgspec.structs.replace(request, epoch=min(request.epoch, 1 << 32))
            peer.run(peer.send(procedure, request, 1))
            peer.check()

        run()


def _good_address() -> obj_wire.ShardAddress:
    return obj_wire.ShardAddress(HANDLE, oid_of().hi, 1, 0, 1, 0, POOL)


@given(st.sampled_from(RECORDS), st.binary(max_size=80))
def test_bytes_are_a_record_or_damage(kind: type[msgspec.Struct], raw: bytes) -> None:
    try:
        record = parse_record(kind, raw, "record")
    except CorruptError:
        return
    assert parse_record(kind, msgspec.msgpack.encode(record), "record") == record


@given(st.data())
def test_a_record_with_a_flipped_bit_is_a_record_or_damage(data: st.DataObject) -> None:
    kinds: tuple[type[msgspec.Struct], ...] = (PoolMeta, HandleRecord, ContainerMeta)
    kind = data.draw(st.sampled_from(kinds))
    raw = bytearray(msgspec.msgpack.encode(data.draw(messages(kind))))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    with contextlib.suppress(CorruptError):
        parse_record(kind, bytes(raw), "record")
