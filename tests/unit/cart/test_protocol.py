"""Opcodes, procedures, protocols, registry."""

from __future__ import annotations

import copy
import uuid

import msgspec
import pytest

from daos.base.errors import ExistsError, InvalidError
from daos.cart.protocol import (
    Procedure,
    Protocol,
    Registry,
    base_of,
    opcode,
    version_of,
)
from daos.cart.wire import DECODE_ERRORS


class Ask(msgspec.Struct, array_like=True, frozen=True):
    uuid: uuid.UUID
    nested: list[object] = []


def procedure(name: str, base: int, version: int, index: int) -> Procedure[Ask, None]:
    return Procedure(name, opcode(base, version, index), Ask, type(None))


def protocol(name: str = "pool", base: int = 2, version: int = 1, *, count: int = 3) -> Protocol:
    procedures = [procedure(f"{name}_{i}", base, version, i) for i in range(count)]
    return Protocol(name, base, version, tuple(procedures))


def test_opcode_layout() -> None:
    assert opcode(4, 1, 9) == 0x0401_0009
    assert base_of(0x0401_0009) == 4
    assert version_of(0x0401_0009) == 1
    assert opcode(0xFE, 0xFF, 0xFFFF) == 0xFEFF_FFFF


@pytest.mark.parametrize(
    ("base", "version", "index"),
    [(0, 1, 1), (0xFF, 1, 1), (-1, 1, 1), (1, 256, 0), (1, -1, 0), (1, 0, 65536), (1, 0, -1)],
)
def test_parts_out_of_range(base: int, version: int, index: int) -> None:
    with pytest.raises(InvalidError):
        opcode(base, version, index)


def test_a_procedure_has_its_codecs() -> None:
    ask = Ask(uuid.UUID(int=5))
    one = procedure("one", 1, 1, 1)
    raw = one.encode(ask)
    assert uuid.UUID(int=5).bytes in raw
    assert one.decode_request(raw) == ask
    assert one.decode_request(memoryview(raw)) == ask
    assert one.decode_reply(one.encode(None)) is None
    assert str(one) == "one (0x01010001)"
    assert copy.copy(one) == one
    assert len({one, procedure("one", 1, 1, 1)}) == 1
    with pytest.raises(InvalidError):
        Procedure("zero", 7, Ask, Ask)


@pytest.mark.parametrize(
    "raw", [b"", b"\xc1", b"\x90", b"\x92\x01\x02", b"\xc4\x10", b"\x92\xc4\x10" + b"x" * 16]
)
def test_undecodable_bytes(raw: bytes) -> None:
    with pytest.raises(DECODE_ERRORS):
        procedure("one", 1, 1, 1).decode_request(raw)


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    raw = b"\x92\xc4\x10" + b"x" * 16 + b"\x91" * 200_000
    with pytest.raises(DECODE_ERRORS):
        procedure("one", 1, 1, 1).decode_request(raw)


def test_a_protocol_holds_its_own_procedures_once() -> None:
    with pytest.raises(InvalidError, match="is not of protocol 'pool'"):
        Protocol("pool", 2, 1, (procedure("x", 2, 2, 0),))
    with pytest.raises(ExistsError, match="0x02010000 occurs twice"):
        Protocol("pool", 2, 1, (procedure("x", 2, 1, 0), procedure("y", 2, 1, 0)))
    with pytest.raises(ExistsError, match="'x' occurs twice"):
        Protocol("pool", 2, 1, (procedure("x", 2, 1, 0), procedure("x", 2, 1, 1)))
    with pytest.raises(InvalidError):
        Protocol("none", 0, 1, ())


def test_registry() -> None:
    registry = Registry([protocol("pool", 2, 1)])
    registry.register(protocol("mgmt", 1, 4))
    registry.register(protocol("pool", 2, 3))
    assert [each.name for each in registry.protocols()] == ["mgmt", "pool", "pool"]
    assert [each.opcode for each in registry.procedures()] == [
        *range(0x0104_0000, 0x0104_0003),
        *range(0x0201_0000, 0x0201_0003),
        *range(0x0203_0000, 0x0203_0003),
    ]
    assert registry.versions(2) == [1, 3]
    assert registry.versions(9) == []
    found = registry.find(0x0203_0001)
    assert found is not None
    assert found.name == "pool_1"
    assert registry.find(0x0203_0007) is None
    assert registry.find(0x0202_0001) is None


@pytest.mark.parametrize(("name", "version"), [("pool", 1), ("other", 2)])
def test_registry_refuses_a_taken_number(name: str, version: int) -> None:
    registry = Registry([protocol("pool", 2, 1)])
    with pytest.raises(ExistsError, match="its number is taken by protocol 'pool'"):
        registry.register(protocol(name, 2, version))
    assert len(list(registry.procedures())) == 3
