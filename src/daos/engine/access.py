"""Who may call a procedure of an engine; what no module's table names is not served at all.

    Module.access = {UPDATE: Caller.WRITER, TGT_CREATE: Caller.ENGINE, …}

A table says who may; the handler holds it, where it knows the handle. Two things are held here: no
procedure is served that stands in no table, and a table is of the module's own procedures.

Source: ours; DAOS splits a module's RPCs into those of clients and those between servers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from daos.base.errors import InvalidError
from daos.cart.protocol import Procedure


class Caller(Enum):
    """Who may call."""

    CLIENT = "any client of the system"
    READER = "who holds a handle of the pool or container"
    WRITER = "who holds one that may write"
    ENGINE = "engines of the system"


Access = Mapping[Procedure[Any, Any], Caller]


def check(served: Iterable[Procedure[Any, Any]], tables: Iterable[Access]) -> None:
    """Refuse to serve what nobody may call.

    Raises: InvalidError  naming the procedure that stands in no table
    """
    allowed = {procedure.opcode for table in tables for procedure in table}
    for procedure in served:
        if procedure.opcode not in allowed:
            raise InvalidError(
                f"procedure {procedure.name} is in no module's table of who may call what"
            )
