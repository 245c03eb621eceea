"""The object module: the object protocol on every target.

Source: DAOS src/object/srv_mod.c
"""

from __future__ import annotations

from daos.engine.module import Module
from daos.engine.target import Target
from daos.object import wire
from daos.object.server import ObjectService


class ObjectModule(Module):
    """Objects: the object protocol on every target."""

    name = "obj"
    id = wire.MODULE_ID
    version = wire.VERSION

    def serve_target(self, target: Target) -> None:
        service = ObjectService(target)
        serve = target.xstream.context.serve
        serve(wire.UPDATE, service.update, land=service.land_update)
        serve(wire.FETCH, service.fetch)
        serve(wire.PUNCH, service.punch)
        serve(wire.DKEY_LIST, service.list_dkeys)
        serve(wire.AKEY_LIST, service.list_akeys)
        serve(wire.RECX_LIST, service.list_recxs)
        serve(wire.OBJECT_LIST, service.list_objects)
        serve(wire.VERSION_LIST, service.list_versions)
        serve(wire.QUERY_KEY, service.query_key)
        serve(wire.CHANGE_LIST, service.list_changes)
