"""The object module: the object protocol on every target.

Source: DAOS src/object/srv_mod.c
"""

from __future__ import annotations

from daos.engine.module import Module
from daos.engine.target import Target
from daos.object import wire
from daos.object.enumeration import Enumeration
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
        Enumeration(target).serve()
