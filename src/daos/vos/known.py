"""The end of the commonest update: one single value, below nodes that exist and were never punched.

Where the epoch is above all that was read or written in the container, and object, dkey and akey
were created before it and have no other past, none of the checks of `update.py` can refuse, and no
node changes: what is left is one put. Everything else is not judged here but left to `update.py`.

Source: ours; 14 us of what `update.end` takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_intdigest

from daos.base.checksum import ChecksumType
from daos.base.ids import Epoch, Lsn
from daos.base.iod import IodType
from daos.bio.device import BLOCK
from daos.vos import keys
from daos.vos.single import emit_one
from daos.vos.state import ContainerState

if TYPE_CHECKING:
    from daos.vos.update import Update

_SINGLE: Final = int(IodType.SINGLE)
_XXH3: Final = ChecksumType.XXH3


def end_known(state: ContainerState, update: Update, epoch: Epoch, minor: int) -> Lsn | None:
    """Put the value, if it is such an update: visible at once. None: nothing was done.

    Raises:     as `Tx.commit`; nothing changed then
    """
    iods, taken, timestamps = update.iods, update.taken, state.timestamps
    spans = taken.spans
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
    akey = iods[0].akey
    akey_id = _akey_of(state, update.order, update.dkey, akey, epoch)
    if not akey_id:
        return None
    span = spans[0][0]
    memory, run = span.memory, span.run
    csum = xxh3_64_intdigest(memory)
    tx = state.meta.begin()
    tx.put(keys.single_key(akey_id, epoch, minor), emit_one(csum, run, memory))
    if taken.descriptor is not None:
        # Of whole blocks the value's checksum is the log's as well.
        taken.descriptor.post(tx, None if span.nbytes % BLOCK else csum)
    tx.epoch = epoch
    if update.dtx:
        state.dtxs.put(tx, update.dtx, epoch)
    lsn = tx.commit()
    timestamps.wrote((epoch, update.object_hash, update.dkey_hash, xxh3_64_intdigest(akey)))
    return lsn


def _akey_of(state: ContainerState, order: bytes, dkey: bytes, akey: bytes, epoch: int) -> int:
    """Id of an akey with single values that exists at `epoch` without ado; 0: look closer.

    Cost:       three dict hits, where its path was used lately
    """
    young = state.nodes.cache.young
    node = young.get((state.node_id, order))
    if node is None or not 0 < node.created <= epoch:
        return 0
    node = young.get((node.id, dkey))
    if node is None or not 0 < node.created <= epoch:
        return 0
    node = young.get((node.id, akey))
    if node is None or not 0 < node.created <= epoch or node.record.value_type != _SINGLE:
        return 0
    return node.id
