"""Modules say who may call what, and what they do not name is not served."""

from __future__ import annotations

import msgspec
import pytest

from daos.base.errors import InvalidError
from daos.cart.protocol import Procedure, opcode
from daos.embedded.modules import own_modules
from daos.engine import access, iv_wire
from daos.engine.access import Caller
from tests.unit.embedded.cluster import Cluster, on_cluster
from tests.unit.embedded.test_access import ACCESS, PROCEDURES

MEANT = {
    "anyone": Caller.CLIENT,
    "engine": Caller.ENGINE,
    "pool r": Caller.READER,
    "cont r": Caller.READER,
    "pool w": Caller.WRITER,
    "cont w": Caller.WRITER,
}


def test_the_modules_say_what_the_table_typed_by_hand_says() -> None:
    said = {
        procedure.name: caller
        for table in (*(module.access for module in own_modules()), iv_wire.ACCESS)
        for procedure, caller in table.items()
    }
    assert said == {name: MEANT[words] for name, words in ACCESS.items()}


@on_cluster
async def test_all_that_is_served_is_in_the_tables(cluster: Cluster) -> None:
    engine = cluster.system.engine
    contexts = [engine.xstream.context, *(target.xstream.context for target in engine.targets)]
    served = {procedure.name for context in contexts for procedure in context.procedures}
    assert served == set(PROCEDURES)


def test_what_stands_in_no_table_is_not_served() -> None:
    class Nothing(msgspec.Struct):
        pass

    known = Procedure("known", opcode(61, 1, 0), Nothing, Nothing)
    unknown = Procedure("unknown", opcode(61, 1, 1), Nothing, Nothing)
    access.check([known], [{}, {known: Caller.CLIENT}])
    with pytest.raises(InvalidError, match="procedure unknown is in no module's table"):
        access.check([known, unknown], [{known: Caller.CLIENT}])
