"""That a caller is an engine of the system: it knows the system's key.

    engine --PROVE{proof}, first on its connection--> engine: compared, remembered of the connection

The key itself never leaves a process by CaRT. A proof is of one caller, one callee and one moment,
the request's deadline: who overheard it can use it until then, and nowhere else. Who can change
bytes on their way is kept out by nothing yet.

Format: docs/format/rpc_frame.md. Source: ours; DAOS believes what a request says of its source
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

from daos.base.errors import AccessError
from daos.base.ids import Rank, Tag
from daos.cart.protocol import Procedure, opcode
from daos.cart.wire import DECODE_ERRORS, Bytes, Endpoint, Header

KEY_SIZE: Final = 32
# A proof is good for so long: clocks of two hosts differ, and a connection takes time.
PROOF_NS: Final = 30 * 1_000_000_000
_PROOF_NS_MAX: Final = 4 * PROOF_NS
_PERSON: Final = b"daos cart prove"


class ProveRequest(msgspec.Struct, array_like=True, frozen=True):
    """The header says who, whom and when."""

    proof: bytes


class ProveReply(msgspec.Struct, array_like=True, frozen=True):
    """It was right."""


PROVE: Final = Procedure("cart_prove", opcode(0xFE, 1, 0), ProveRequest, ProveReply)
PROVED: Final = PROVE.encode(ProveReply())


def prove(key: bytes, source: Endpoint, destination: Endpoint, deadline_ns: int) -> ProveRequest:
    """The request of `source`, for a call that ends at `deadline_ns`."""
    return ProveRequest(_proof(key, source, destination, deadline_ns))


def check(key: bytes | None, header: Header, body: Bytes, now_ns: int) -> None:
    """Raises: AccessError  it is no proof, or not of this moment; None as a key is never right"""
    source = Endpoint(Rank(header.source_rank), Tag(header.source_tag))
    destination = Endpoint(Rank(header.rank), Tag(header.tag))
    try:
        given = PROVE.decode_request(body).proof
    except DECODE_ERRORS:
        given = b""
    wanted = _proof(key or bytes(KEY_SIZE), source, destination, header.deadline_ns)
    right = hmac.compare_digest(given, wanted) and key is not None
    if not right or header.deadline_ns > now_ns + _PROOF_NS_MAX:
        raise AccessError(f"a peer says it is {source}, and does not know the system's key")


def _proof(key: bytes, source: Endpoint, destination: Endpoint, deadline_ns: int) -> bytes:
    words = (source.rank, source.tag, destination.rank, destination.tag)
    text = b"".join(word.to_bytes(4, "little") for word in words)
    text += deadline_ns.to_bytes(8, "little")
    return hashlib.blake2b(text, digest_size=32, key=key, person=_PERSON).digest()
