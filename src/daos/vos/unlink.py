"""Unlink: an object or a key goes at once, with everything below it, at every epoch.

Nothing reaches the subtree any more, and gc.py frees it in steps. Epochs and logs do not matter:
this is no punch, whoever reads the past finds nothing either. It is for those who know that nobody
does.

Not beside an aggregation: that merges what it has read before, and must find it again.

Source: DAOS src/vos/vos_obj.c vos_obj_delete, vos_obj_del_key
"""

from __future__ import annotations

from daos.base.checksum import xxh3
from daos.base.errors import NotFoundError
from daos.base.ids import Lsn, UnitOid
from daos.vos import keys
from daos.vos.edit import Edit
from daos.vos.ilog import EMPTY
from daos.vos.records import GarbageRecord, NodeRecord
from daos.vos.state import ContainerState
from daos.vos.work import Where, drop


def delete(
    state: ContainerState, oid: UnitOid, dkey: bytes | None = None, akey: bytes | None = None
) -> Lsn:
    """See VosContainer.delete_object, delete_key. Cost: a look-up a level, one transaction."""
    state.check_not_aggregated()
    kinds, order = keys.key_kinds(oid), keys.object_order(oid)
    object_hash = xxh3(order)
    where, node = (state.node_id, order), state.nodes.object(order)
    for level, key, kind in ((keys.DKEY, dkey, kinds[0]), (keys.AKEY, akey, kinds[1])):
        if node is not None and key is not None:
            where, node = (node.id, key), state.nodes.key(node.id, level, key, kind)
    if node is None:
        raise NotFoundError(f"there is no such entity below object {oid.oid}")
    edit = Edit(state.meta, state.root)
    edit.tx.put(keys.garbage_key(node.id), GarbageRecord(node.record.kind).emit())
    place = Where(where, node.key)
    if not drop(edit, state.meta, place, node.record):
        # Another key's record stands behind it, so that it leaves an empty one, with a new id.
        empty = NodeRecord(node.record.kind, edit.new_id(), EMPTY.emit(), node.record.key)
        edit.put(where, node.key, empty)
    lsn = edit.commit(0, state.nodes.cache)
    state.newest.forget(order)
    if dkey is None:
        state.lsns.wrote_object(object_hash, lsn)
    else:
        state.lsns.wrote_dkey(object_hash, xxh3(dkey), lsn)
    return lsn
