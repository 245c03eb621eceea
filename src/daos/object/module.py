"""The object module: the object protocol on every target.

Source: DAOS src/object/srv_mod.c
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from daos.cart.protocol import Procedure
from daos.engine.access import Access, Caller
from daos.engine.module import Module
from daos.engine.sched import Attributes
from daos.engine.sched_core import RequestType
from daos.engine.target import Target
from daos.object import wire
from daos.object.enumeration import Enumeration
from daos.object.server import ObjectService


class ObjectModule(Module):
    """Objects: the object protocol on every target."""

    name = "obj"
    id = wire.MODULE_ID
    version = wire.VERSION
    access: ClassVar[Access] = {
        wire.UPDATE: Caller.WRITER,
        wire.PUNCH: Caller.WRITER,
        wire.FETCH: Caller.READER,
        wire.DKEY_LIST: Caller.READER,
        wire.AKEY_LIST: Caller.READER,
        wire.RECX_LIST: Caller.READER,
        wire.OBJECT_LIST: Caller.READER,
        wire.VERSION_LIST: Caller.READER,
        wire.CHANGE_LIST: Caller.READER,
        wire.QUERY_KEY: Caller.READER,
        wire.NEWEST_EPOCH: Caller.READER,
        wire.POOL_MAP: Caller.READER,
    }

    scheduled: ClassVar[Mapping[Procedure, Attributes]] = {
        wire.UPDATE: Attributes(RequestType.UPDATE),
        wire.FETCH: Attributes(RequestType.FETCH),
        # It gives space back, and is not kept for want of that.
        wire.PUNCH: Attributes(RequestType.UPDATE, no_delay=True),
    }

    def serve_target(self, target: Target) -> None:
        service = ObjectService(target)
        serve = target.xstream.context.serve
        serve(wire.UPDATE, service.update, land=service.land_update)
        serve(wire.FETCH, service.fetch)
        serve(wire.PUNCH, service.punch)
        Enumeration(target).serve()
