"""I/O descriptors and flags."""

from __future__ import annotations

import msgspec
import pytest

from daos.base.errors import InvalidError
from daos.base.iod import COND_MASK, Cond, Iod, IodType, QueryFlag, Recx, check_iod


def test_flags_have_the_reference_numbers() -> None:
    names = "PUNCH DKEY_INSERT DKEY_UPDATE DKEY_FETCH AKEY_INSERT AKEY_UPDATE AKEY_FETCH PER_AKEY"
    assert [Cond[name] for name in names.split()] == [1 << bit for bit in range(8)]
    assert sum(Cond) == COND_MASK
    keys = ("KEY_INSERT", "KEY_UPDATE", "KEY_GET", "KEY_REMOVE")
    assert [Cond[name] for name in keys] == [2, 4, 8, 1]
    assert [QueryFlag[name] for name in ("MAX", "MIN", "DKEY", "AKEY", "RECX")] == [1, 2, 4, 8, 16]


def test_nbytes() -> None:
    assert Iod(b"a", IodType.SINGLE, 100).nbytes == 100
    assert Iod(b"a", IodType.ARRAY, 8, (Recx(0, 3), Recx(9, 2))).nbytes == 40
    assert Iod(b"a", IodType.ARRAY, 0, (Recx(0, 3),)).nbytes == 0
    assert Recx(5, 3).end == 8


@pytest.mark.parametrize(
    "iod",
    [
        Iod(b"a", IodType.SINGLE, 0),
        Iod(b"a", IodType.SINGLE, 2**64 - 1, (), Cond.AKEY_INSERT),
        Iod(b"", IodType.ARRAY, 1, (Recx(0, 1),)),
        Iod(b"a", IodType.ARRAY, 1, (Recx(2**64 - 1, 1), Recx(0, 2**64 - 1)), COND_MASK),
    ],
)
def test_good(iod: Iod) -> None:
    check_iod(iod)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(iod), type=Iod) == iod


@pytest.mark.parametrize(
    ("iod", "text"),
    [
        (Iod(b"a", IodType.NONE, 0), "type"),
        (Iod(b"a", IodType.SINGLE, -1), "size"),
        (Iod(b"a", IodType.SINGLE, 2**64), "size"),
        (Iod(b"a", IodType.SINGLE, 1, (), 0x100), "condition"),
        (Iod(b"a", IodType.SINGLE, 1, (), -1), "condition"),
        (Iod(b"a", IodType.SINGLE, 1, (Recx(0, 1),)), "single"),
        (Iod(b"a", IodType.ARRAY, 1), "at least one"),
        (Iod(b"a", IodType.ARRAY, 1, (Recx(0, 1), Recx(0, 0))), "non-empty"),
        (Iod(b"a", IodType.ARRAY, 1, (Recx(-1, 2),)), "records"),
        (Iod(b"a", IodType.ARRAY, 1, (Recx(2**64 - 1, 2),)), "records"),
        (Iod(b"a", IodType.ARRAY, 1, (Recx(0, 2**64 + 1),)), "records"),
    ],
)
def test_refused(iod: Iod, text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        check_iod(iod)


def test_a_wrong_type_number_does_not_decode() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode([b"a", 3, 0]), type=Iod)
