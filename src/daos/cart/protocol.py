"""Procedures, protocols and their numbers: who may be called, with what, and what comes back.

An opcode is 32 bits:

    31..24  base      the protocol: module id of the service, 1..0xFE
    23..16  version   of the protocol; a change of any message bumps it
    15..0   index     the procedure within the protocol

A `Procedure` carries its codecs ready made: MessagePack of msgspec structs, UUIDs as 16 bytes.
Decoders are strict: a missing field, a wrong type or an unknown shape is refused, and so is nesting
too deep for the interpreter.

Source: DAOS src/cart/crt_register.c, src/include/daos/rpc.h DAOS_RPC_OPCODE; messages are ours
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from daos.base.errors import ExistsError, InvalidError

if TYPE_CHECKING:  # a bare `Procedure` or `Rpc` means "of any messages": PEP 696, 3.13 at run time
    from typing_extensions import TypeVar

    RequestT = TypeVar("RequestT", default=Any)
    ReplyT = TypeVar("ReplyT", default=Any)
else:
    from typing import TypeVar

    RequestT = TypeVar("RequestT")
    ReplyT = TypeVar("ReplyT")

BASE_MAX: Final = 0xFE  # 0xFF is CaRT's own
VERSION_MAX: Final = 0xFF
INDEX_MAX: Final = 0xFFFF

# One encoder for all messages: it keeps no state between calls.
_encode: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


def opcode(base: int, version: int, index: int) -> int:
    """The number of a procedure. Raises: InvalidError if a part is out of its range."""
    if not 0 < base <= BASE_MAX:
        raise InvalidError(f"protocol base must be 1..{BASE_MAX:#x}, got {base:#x}")
    if not 0 <= version <= VERSION_MAX:
        raise InvalidError(f"protocol version must be 0..{VERSION_MAX}, got {version}")
    if not 0 <= index <= INDEX_MAX:
        raise InvalidError(f"procedure index must be 0..{INDEX_MAX}, got {index}")
    return base << 24 | version << 16 | index


def base_of(opcode: int) -> int:
    """The protocol of a procedure."""
    return opcode >> 24


def version_of(opcode: int) -> int:
    """The protocol's version."""
    return opcode >> 16 & VERSION_MAX


@dataclass(frozen=True, slots=True)
class Procedure(Generic[RequestT, ReplyT]):
    """One thing a peer can be asked to do.

    Raises:     InvalidError         the opcode has no valid base
                wire.DECODE_ERRORS   by the decoders: the bytes are no message of this type
    """

    name: str
    opcode: int
    request: type[RequestT]
    reply: type[ReplyT]
    encode: Callable[[object], bytes] = field(init=False, repr=False, compare=False)
    decode_request: Callable[[bytes | bytearray | memoryview], RequestT] = field(
        init=False, repr=False, compare=False
    )
    decode_reply: Callable[[bytes | bytearray | memoryview], ReplyT] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        opcode(base_of(self.opcode), version_of(self.opcode), self.opcode & INDEX_MAX)
        for name, codec in (
            ("encode", _encode),
            ("decode_request", msgspec.msgpack.Decoder(self.request).decode),
            ("decode_reply", msgspec.msgpack.Decoder(self.reply).decode),
        ):
            object.__setattr__(self, name, codec)

    def __hash__(self) -> int:
        return self.opcode

    def __str__(self) -> str:
        return f"{self.name} ({self.opcode:#010x})"


@dataclass(frozen=True, slots=True)
class Protocol:
    """The procedures of one service at one version.

    Raises:     InvalidError   a procedure's opcode is not of this base and version
                ExistsError    two procedures share an opcode or a name
    """

    name: str
    base: int
    version: int
    procedures: tuple[Procedure, ...]

    def __post_init__(self) -> None:
        first = opcode(self.base, self.version, 0)
        for procedure in self.procedures:
            if procedure.opcode & ~INDEX_MAX != first:
                raise InvalidError(f"{procedure} is not of {self}")
        _refuse_twins(f"{self}", (procedure.opcode for procedure in self.procedures))
        _refuse_twins(f"{self}", (procedure.name for procedure in self.procedures))

    def __str__(self) -> str:
        return f"protocol {self.name!r} (base {self.base:#04x}, version {self.version})"


class Registry:
    """The protocols of a process. What is not here cannot be called.

    Several versions of one protocol may stand side by side; one version registers once.
    """

    def __init__(self, protocols: Iterable[Protocol] = ()) -> None:
        self._protocols: dict[tuple[int, int], Protocol] = {}
        for protocol in protocols:
            self.register(protocol)

    def register(self, protocol: Protocol) -> None:
        """Raises: ExistsError if its base and version are taken, or its base by another name."""
        for other in self._protocols.values():
            if other.base == protocol.base and (
                other.name != protocol.name or other.version == protocol.version
            ):
                raise ExistsError(f"{protocol}: its number is taken by {other}")
        self._protocols[protocol.base, protocol.version] = protocol

    def protocols(self) -> Iterator[Protocol]:
        """All of them, by base and version."""
        for key in sorted(self._protocols):
            yield self._protocols[key]

    def procedures(self) -> Iterator[Procedure]:
        """Every procedure there is, in the order of protocols and of their tables."""
        for protocol in self.protocols():
            yield from protocol.procedures

    def find(self, opcode: int) -> Procedure | None:
        """The procedure of a number, if any."""
        protocol = self._protocols.get((base_of(opcode), version_of(opcode)))
        procedures = protocol.procedures if protocol else ()
        return next((each for each in procedures if each.opcode == opcode), None)

    def versions(self, base: int) -> list[int]:
        """The versions registered for a base, ascending; what a peer's query is answered from."""
        return sorted(version for known, version in self._protocols if known == base)


def _refuse_twins(where: str, values: Iterable[int | str]) -> None:
    seen = set[int | str]()
    for value in values:
        if value in seen:
            shown = f"{value:#010x}" if isinstance(value, int) else repr(value)
            raise ExistsError(f"{where}: {shown} occurs twice")
        seen.add(value)
