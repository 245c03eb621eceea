"""A class of incast variables: what its entries are, and what a rank does with them.

A module registers an object of each of its classes on every rank (`Iv.register`).

    spread       put at the master, told to all ranks, each of which tells its targets (`refresh`)
    asked for    made by the master when a rank asks (`fetch`); each rank between keeps a copy, if
                 the class is `cached`, and whoever got one hears when it is invalid (`invalidate`)

Source: DAOS src/include/daos_srv/iv.h struct ds_iv_class_ops; ours: two kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from daos.base.errors import NotFoundError
from daos.cart.context import Endpoint
from daos.engine.iv_core import Entry, NameSpace


class EntryClass:
    """See the module; a class overrides what it has something for."""

    number: ClassVar[int]
    spread: ClassVar[bool]
    # Whether a copy may answer; else each question goes up to the master. Of spread ones it does.
    cached: ClassVar[bool] = True

    async def fetch(self, pool: bytes, key: bytes) -> Entry:
        """At the master: the entry as it is now. Raises: NotFoundError; AgainError (not yet)"""
        raise NotFoundError(f"entries of class {self.number} are not set: {pool.hex()} {key.hex()}")

    async def refresh(
        self, space: NameSpace, entry: Entry, targets: Sequence[Endpoint], deadline_ns: int
    ) -> None:
        """Tell the targets of this rank what an entry says; it is held afterwards."""

    async def invalidate(
        self, pool: bytes, keys: Sequence[bytes], target: Endpoint, deadline_ns: int
    ) -> None:
        """Have a target forget entries that it was given."""
