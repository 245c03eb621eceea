"""Messages of incast variables, between the system xstreams of ranks. Protocol `iv`, version 2.

Source: DAOS src/cart/crt_internal_types.h IV_FETCH, IV_SYNC: module 0xF4; ours: the messages, and
FIND.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from daos.cart.protocol import Procedure, Protocol, opcode
from daos.engine.access import Access, Caller

MODULE_ID: Final = 0xF4
VERSION: Final = 2
_opcode: Final = partial(opcode, MODULE_ID, VERSION)


class FindRequest(msgspec.Struct, array_like=True, frozen=True):
    """Which name space a pool has now; for who has not been told yet."""

    pool: bytes


class FindReply(msgspec.Struct, array_like=True, frozen=True):
    master: int
    term: int
    members: tuple[tuple[int, int], ...]  # (rank, number of its targets)


class FetchRequest(msgspec.Struct, array_like=True, frozen=True):
    """An entry of a pool's name space, no older than `at_least`. term 0: the present one."""

    pool: bytes
    term: int
    number: int  # its class
    at_least: int
    key: bytes = b""


class FetchReply(msgspec.Struct, array_like=True, frozen=True):
    version: int
    value: bytes


class WireEntry(msgspec.Struct, array_like=True, frozen=True):
    """An entry of a name space."""

    number: int
    key: bytes
    version: int
    value: bytes


class SyncRequest(msgspec.Struct, array_like=True, frozen=True):
    """Take these entries, and tell those below you in the tree; `end`: the name space is over.

    `invalid`: forget these (class, key); class 0: all that were not told but asked for
    """

    pool: bytes
    master: int
    term: int
    members: tuple[tuple[int, int], ...]  # (rank, number of its targets)
    ranks: tuple[int, ...]  # of the tree, by position; the master first
    entries: tuple[WireEntry, ...]
    end: bool = False
    invalid: tuple[tuple[int, bytes], ...] = ()


class SyncReply(msgspec.Struct, array_like=True, frozen=True):
    """Ranks below, this one included, that could not be told, each with a DER code."""

    missed: tuple[tuple[int, int], ...]


FETCH: Final = Procedure("iv_fetch", _opcode(0), FetchRequest, FetchReply)
SYNC: Final = Procedure("iv_sync", _opcode(2), SyncRequest, SyncReply)
FIND: Final = Procedure("iv_find", _opcode(3), FindRequest, FindReply)

PROTOCOL: Final = Protocol("iv", MODULE_ID, VERSION, (FETCH, SYNC, FIND))
ACCESS: Final[Access] = {
    FETCH: Caller.ENGINE,
    SYNC: Caller.ENGINE,
    FIND: Caller.ENGINE,
}
