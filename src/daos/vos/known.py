"""The end of the commonest updates: one single value, where nothing on its path was ever punched.

Where the epoch is above all that was read or written in the container, and the object was created
before it and has no other past, none of the checks of `update.py` can refuse in two cases:

    known   dkey and akey are the same: no node changes, what is left is one put
    fresh   the tree has no such dkey: it and its akey are made, and nothing can be below them

Everything else is not judged here but left to `update.py`.

Source: ours; 14 us of what `update.end` takes where all is known, 12 us where the dkey is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_intdigest

from daos.base.checksum import ChecksumType
from daos.base.ids import Epoch, KeyKind, Lsn
from daos.base.iod import IodType
from daos.bio.device import BLOCK
from daos.bio.tx import Tx
from daos.vos import keys
from daos.vos.edit import Edit
from daos.vos.ilog import emit_created
from daos.vos.nodes import Node
from daos.vos.records import NodeRecord
from daos.vos.single import emit_one
from daos.vos.state import ContainerState

if TYPE_CHECKING:
    from daos.vos.update import Update

_SINGLE: Final = int(IodType.SINGLE)
_XXH3: Final = ChecksumType.XXH3
_CSUM_TYPE: Final = int(_XXH3)


def end_known(state: ContainerState, update: Update, epoch: Epoch, minor: int) -> Lsn | None:
    """Put the value, if it is such an update: visible at once. None: nothing was done.

    Raises:     as `Tx.commit`, CorruptError; nothing changed then
    Cost:       known: three dict hits, where the path was used lately; fresh: a look-up of the dkey
    """
    iods, spans, timestamps = update.iods, update.taken.spans, state.timestamps
    if (
        update.cond
        or len(iods) != 1
        or iods[0].type != _SINGLE
        or len(spans) != 1
        or len(spans[0]) != 1
        or update.csum_type is not _XXH3
        or epoch <= timestamps.newest_read
        or epoch <= timestamps.newest_write
    ):
        return None
    young = state.nodes.cache.young
    node = young.get((state.node_id, update.order))
    if node is None or not 0 < node.created <= epoch:
        return None
    object_id, akey = node.id, iods[0].akey
    node = young.get((object_id, update.dkey))
    if node is None:
        edit = _fresh(state, update, object_id, epoch, minor)
        if edit is None:
            return None
        _put(state, update, edit.tx, keys.single_key(edit.next_id - 1, epoch, minor), epoch)
        lsn = edit.commit(epoch, state.nodes.cache)
    else:
        if not 0 < node.created <= epoch:
            return None
        node = young.get((node.id, akey))
        if node is None or not 0 < node.created <= epoch or node.record.value_type != _SINGLE:
            return None
        tx = state.meta.begin()
        _put(state, update, tx, keys.single_key(node.id, epoch, minor), epoch)
        tx.epoch = epoch
        lsn = tx.commit()
    timestamps.wrote((epoch, update.object_hash, update.dkey_hash, xxh3_64_intdigest(akey)))
    return lsn


def _put(state: ContainerState, update: Update, tx: Tx, key: bytes, epoch: Epoch) -> None:
    """The value and the id into the transaction."""
    ((span,),) = update.taken.spans
    memory = span.memory
    csum = xxh3_64_intdigest(memory)
    tx.put(key, emit_one(csum, span.run, memory))
    descriptor = update.taken.descriptor
    if descriptor is not None:
        # Of whole blocks the value's checksum is the log's as well.
        descriptor.post(tx, None if span.nbytes % BLOCK else csum)
    if update.dtx:
        state.dtxs.put(tx, update.dtx, epoch)


def _fresh(
    state: ContainerState, update: Update, object_id: int, epoch: Epoch, minor: int
) -> Edit | None:
    """The dkey and its akey, of which the tree has nothing yet; None: it has, or no place for it.

    The akey's id is the last one that the edit has drawn.
    """
    dkey, akey, (dkey_kind, akey_kind) = update.dkey, update.iods[0].akey, update.kinds
    if state.nodes.key(object_id, keys.DKEY, dkey, dkey_kind) is not None:
        return None
    place = state.nodes.take_free(object_id, dkey)
    if place is None:
        return None
    edit = Edit(state.meta, state.root)
    dkey_id, akey_id = edit.new_id(), edit.new_id()
    ilog = emit_created(epoch, minor)
    record = NodeRecord(keys.DKEY, dkey_id, ilog, _kept(dkey, dkey_kind))
    edit.add((object_id, dkey), Node(place, record, dkey_id, epoch))
    # Below a new node no two keys share a place.
    if keys.is_exact(akey, akey_kind):
        order = keys.exact_order(akey, akey_kind)
    else:
        order = keys.with_tie(keys.bucket_order(akey, akey_kind), 0)
    typed = (_SINGLE, 0, 0, _CSUM_TYPE, update.csum_chunk)
    record = NodeRecord(keys.AKEY, akey_id, ilog, _kept(akey, akey_kind), *typed)
    place = keys.node_prefix(dkey_id, keys.AKEY) + order
    edit.add((dkey_id, akey), Node(place, record, akey_id, epoch))
    return edit


def _kept(key: bytes, kind: KeyKind) -> bytes:
    """What the record repeats of a user's key."""
    return b"" if keys.is_exact(key, kind) else key
