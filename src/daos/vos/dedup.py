"""Deduplication: equal extents of a shard share their blocks.

Asked for by a container, for arrays' extents of at least so many bytes. Such an extent has landed
in memory before anybody can tell what it is, so blocks are reserved for it; if its content is
found, they are given back unwritten, and the record names the blocks that are there:

    matches    (memcmp only) the stored runs that may be equal; the caller reads and compares them
    resolve    content known (and compared)?   yes: one reference more, its run is named
                                               no:  the content is known from now on
    release    a record that named a run is gone: one reference less, or the blocks are free

Everything is part of the transaction that writes or deletes the record, so no cut of the power
leaves a count that does not fit. Containers of the shard share with each other: what is found is
found by its content alone. How sure is sure:

    memcmp     128 bits of XXH3 to find it, then every byte
    hash       SHA-256, which nobody knows how to forge

Invariants:
    P1  a place record exists for a run exactly if content names it; its count is that of the
        extents that name the run
    P2  a run with a place record is freed by the release of its last reference, never before
    P3  content that is found was durable, or will be before what found it: the log keeps order
    P4  aggregation writes nothing apart that is shared: extents that are visible as a whole, and
        those whose run others name, are not merged (runs.py); what is hidden as a whole is released
Source: DAOS src/vos/vos_io.c vos_dedup_lookup, vos_dedup_update, vos_dedup_verify. Ours: a durable
index (theirs is lost with the process), data blocks (theirs is for SCM only), counts; such
containers are aggregated (theirs are not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import xxhash

from daos.base.checksum import ChecksumType, slice_bytes
from daos.base.errors import CorruptError
from daos.base.iod import Iod, IodType
from daos.bio.meta import MetaContext, Tx
from daos.bio.space import Extent
from daos.vos.dedup_record import (
    DIGEST_SIZE,
    DedupMode,
    DedupSetting,
    Place,
    content_key,
    emit_content,
    parse_content,
    place_key,
    setting_key,
)

if TYPE_CHECKING:
    from daos.vos.reserve import Span

# What the records of one extent may take of the tree and the log.
DEDUP_BYTES: Final = 512

_Get = Callable[[bytes], bytes | None]


class Match(NamedTuple):
    """An extent that has landed, and a stored run that may hold the same bytes.

    Whoever has compared them says so: `match.span.equal = match.run`.
    """

    span: Span
    run: Extent


def load_setting(meta: MetaContext, container_id: int) -> DedupSetting | None:
    """What a container wants; None: nothing. Raises: CorruptError."""
    key = setting_key(container_id)
    value = meta.get(key)
    return None if value is None else DedupSetting.parse(key, value)


def array_spans(iods: Sequence[Iod], spans: Iterable[tuple[Span, ...]]) -> Iterator[Span]:
    """Those of arrays, of the spans of all values of an update."""
    of_values = iter(spans)
    for iod in iods:
        if not iod.size:
            continue
        if iod.type == IodType.SINGLE:
            next(of_values)
            continue
        for _ in iod.recxs:
            yield from next(of_values)


def eligible(setting: DedupSetting, span: Span) -> bool:
    """Whether an extent is long enough, and stored in blocks."""
    return span.run is not None and span.nbytes >= setting.threshold


def digest_of(setting: DedupSetting, span: Span) -> bytes:
    """What content is found by, computed once. Cost: SHA-256 2 GB/s, XXH3 10."""
    if not span.digest:
        for _ in digesting(setting, span):
            pass
    return span.digest


def digesting(setting: DedupSetting, span: Span) -> Iterator[None]:
    """Compute it, with a yield behind each slice but the last."""
    is_hash = setting.mode is DedupMode.HASH
    content = sha256() if is_hash else xxhash.xxh3_128()
    nbytes = slice_bytes(ChecksumType.SHA256 if is_hash else ChecksumType.XXH3)
    for lo in range(0, span.nbytes, nbytes):
        if lo:
            yield
        content.update(span.memory[lo : lo + nbytes])
    span.digest = content.digest().ljust(DIGEST_SIZE, b"\0")


def matches(meta: MetaContext, setting: DedupSetting, spans: Iterable[Span]) -> list[Match]:
    """The stored runs that have to be compared before `resolve` may name them."""
    if setting.mode is not DedupMode.MEMCMP:
        return []
    found: list[Match] = []
    for span in spans:
        if eligible(setting, span):
            run = _find(meta.get, digest_of(setting, span), span.nbytes)
            if run is not None:
                found.append(Match(span, run))
    return found


def resolve(tx: Tx, setting: DedupSetting, span: Span) -> Extent:
    """The run that the record of an eligible extent names: its own, or one that is there."""
    own = span.run
    assert own is not None
    digest = digest_of(setting, span)
    run = _find(tx.get, digest, span.nbytes)
    if run is None:
        key = content_key(digest, span.nbytes)
        tx.put(key, emit_content(key, own))
        key = place_key(own)
        tx.put(key, Place(1, span.nbytes, digest).emit(key))
        return own
    if setting.mode is DedupMode.MEMCMP and run != span.equal:
        return own  # not equal, not compared, or written by this very update
    key = place_key(run)
    place = _place(tx, key)
    if place is None:
        raise CorruptError("dedup place", offset=0, want=f"a record of {run}", got="none")
    tx.put(key, Place(place.references + 1, place.nbytes, place.digest).emit(key))
    return run


def release(tx: Tx, run: Extent) -> None:
    """A record that named the run is gone. Cost: one look-up; a put, or two deletes, if shared."""
    key = place_key(run)
    place = _place(tx, key)
    if place is None:
        tx.free(run)
    elif place.references > 1:
        tx.put(key, Place(place.references - 1, place.nbytes, place.digest).emit(key))
    else:
        tx.delete(key)
        tx.delete(content_key(place.digest, place.nbytes))
        tx.free(run)


def is_counted(meta: MetaContext, run: Extent | None) -> bool:
    """Whether more than one record may name the run."""
    return run is not None and meta.get(place_key(run)) is not None


def is_shared(meta: MetaContext, run: Extent) -> bool:
    """Whether more than one record names the run. Raises: CorruptError."""
    key = place_key(run)
    value = meta.get(key)
    return value is not None and Place.parse(key, value).references > 1


def _place(tx: Tx, key: bytes) -> Place | None:
    value = tx.get(key)
    return None if value is None else Place.parse(key, value)


def _find(get: _Get, digest: bytes, nbytes: int) -> Extent | None:
    key = content_key(digest, nbytes)
    value = get(key)
    return None if value is None else parse_content(key, value)
