"""What targets ask for when they meet a handle: incast variables that nobody is told.

    CONT_CAPA   key: the handle      what it may do; never changes while the handle is open
    CONT_SNAP   key: the container   what must be kept of it; never from a copy: that may be old

    request by an unknown handle --> the target asks its rank --> up the tree --> the service
        --> the container's part is made, if this is its first use here --> what must be kept, asked
        --> nothing is written at or below its snapshots any more --> requests are answered
    handle closed, evicted, container destroyed --> record gone --> all ranks, all who had asked

The part is there before what must be kept is asked: whatever becomes a snapshot later is told.

Source: DAOS src/container/srv_target.c cont_iv_capability_fetch, container_iv.c
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from daos.base.checksum import ChecksumType
from daos.base.errors import InvalidError, NotFoundError, StaleHandleError
from daos.base.ids import U64_MAX, ContainerUuid, Epoch, HandleUuid, PoolUuid
from daos.cart.context import Endpoint
from daos.container import wire
from daos.container.server import ContainerServices
from daos.engine.iv import fetch
from daos.engine.iv_class import EntryClass
from daos.engine.iv_core import Entry, IvClass
from daos.engine.service import parse_id
from daos.engine.target import Kept, Target
from daos.engine.xstream import Xstream
from daos.vos.dedup_record import DedupMode, DedupSetting

_CAPABILITY: Final = msgspec.msgpack.Decoder(wire.Capability)
_KEPT: Final = msgspec.msgpack.Decoder(wire.Kept)
_T = TypeVar("_T")


class CapabilityClass(EntryClass):
    """Handles of containers."""

    number = IvClass.CONT_CAPA
    spread = False

    def __init__(self, xstream: Xstream, services: Callable[[], ContainerServices]) -> None:
        """`services`: asked for on the master only."""
        self._xstream = xstream
        self._services = services

    async def fetch(self, pool: bytes, key: bytes) -> Entry:
        """Raises: StaleHandleError"""
        capability = await self._services().capability(pool, key)
        return Entry(1, msgspec.msgpack.encode(capability))

    async def invalidate(
        self, pool: bytes, keys: Sequence[bytes], target: Endpoint, deadline_ns: int
    ) -> None:
        del pool
        await self._xstream.context.call(
            target, wire.TGT_CLOSE, wire.TargetCloseRequest(tuple(keys)), deadline_ns=deadline_ns
        )


class SnapshotsClass(EntryClass):
    """What must be kept of containers."""

    number = IvClass.CONT_SNAP
    spread = False
    cached = False

    def __init__(self, services: Callable[[], ContainerServices]) -> None:
        self._services = services

    async def fetch(self, pool: bytes, key: bytes) -> Entry:
        """Raises: NotFoundError"""
        kept = await self._services().kept(pool, key)
        return Entry(kept.revision, msgspec.msgpack.encode(kept))


async def find_handle(target: Target, pool: PoolUuid, handle: HandleUuid) -> None:
    """Learn what a handle is, and let requests name it.

    Raises: StaleHandleError (it is closed); what the rank says, or who is above it; as
            `Target.open_handle`
    """
    xstream = target.xstream
    try:
        found = await fetch(xstream, pool, IvClass.CONT_CAPA, handle.bytes)
    except NotFoundError as error:  # nor is anybody connected
        raise StaleHandleError("the container handle is closed or unknown") from error
    capability = _decode(_CAPABILITY, found.value)
    container = container_id(capability.container)
    kept = None
    if target.make_part(pool, container):
        told = await fetch(xstream, pool, IvClass.CONT_SNAP, capability.container)
        kept = parse_kept(_decode(_KEPT, told.value))
    await target.open_handle(
        pool,
        container,
        handle=handle,
        kept=kept,
        writable=capability.writable,
        checksum_type=_checksum_type(capability.checksum_type),
        checksum_chunk=capability.checksum_chunk,
        dedup=_dedup(capability),
    )


def parse_kept(kept: wire.Kept) -> Kept:
    """Raises: InvalidError."""
    before = 0
    for epoch in kept.snapshots:
        if not before < epoch <= U64_MAX:
            raise InvalidError(f"snapshots are epochs in ascending order; {epoch} is none")
        before = epoch
    if not all(0 < epoch <= U64_MAX for epoch in kept.making):
        raise InvalidError("what may become a snapshot is an epoch")
    if not 0 <= kept.drawn <= U64_MAX:
        raise InvalidError(f"epoch {kept.drawn} is not a u64")
    if kept.revision < 0:
        raise InvalidError(f"revision {kept.revision} of a store: 0 or more expected")
    return Kept(kept.snapshots, kept.revision, kept.reclaim, kept.making, Epoch(kept.drawn))


def container_id(raw: bytes) -> ContainerUuid:
    """Raises: InvalidError."""
    return ContainerUuid(parse_id(raw, "container"))


def handle_id(raw: bytes) -> HandleUuid:
    """Raises: InvalidError."""
    return HandleUuid(parse_id(raw, "container handle"))


def _decode(decoder: msgspec.msgpack.Decoder[_T], value: bytes) -> _T:
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"an entry of a container: {error}") from error


def _dedup(capability: wire.Capability) -> DedupSetting | None:
    if capability.dedup == "off":
        return None
    try:
        mode = DedupMode[capability.dedup.upper()]
    except KeyError:
        raise InvalidError(f"deduplication {capability.dedup!r} is unknown") from None
    return DedupSetting(mode, capability.dedup_threshold)


def _checksum_type(number: int) -> ChecksumType:
    try:
        return ChecksumType(number)
    except ValueError:
        raise InvalidError(f"checksum type {number} is unknown") from None
