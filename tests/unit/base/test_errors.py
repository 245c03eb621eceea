"""The exception tree: what a person sees, catches, pickles and receives."""

from __future__ import annotations

import copy
import errno
import pickle

import pytest

from daos.base import errors
from daos.base.errors import (
    DER,
    ChecksumError,
    CorruptError,
    DaosError,
    InvalidError,
    KeyNotFoundError,
    NotFoundError,
    error_for,
)

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, DaosError)
]
SIMPLE = [cls for cls in CLASSES if cls is not CorruptError]


def test_text_code_and_errno() -> None:
    error = NotFoundError("pool 'tank' not found")
    assert str(error) == "DER_NONEXIST(-1005): pool 'tank' not found"
    assert error.code is DER.NONEXIST
    assert error.errno == errno.ENOENT
    assert error.strerror == error.message == "pool 'tank' not found"
    assert error.lsn == 0


def test_without_text_the_table_speaks() -> None:
    assert str(DaosError(code=DER.RF)) == "DER_RF(-2031): Failures exceed RF"
    assert DaosError("x").code is DER.MISC


@pytest.mark.parametrize(
    ("cls", "parent"),
    [
        (errors.NotFoundError, FileNotFoundError),
        (errors.KeyNotFoundError, KeyError),
        (errors.KeyNotFoundError, FileNotFoundError),
        (errors.ExistsError, FileExistsError),
        (errors.AccessError, PermissionError),
        (errors.InvalidError, ValueError),
        (errors.DeadlineError, TimeoutError),
        (errors.CorruptError, errors.ChecksumError),
    ],
)
def test_built_in_parents(cls: type[DaosError], parent: type[Exception]) -> None:
    assert issubclass(cls, parent)


def test_keys_of_mappings_show_the_whole_text() -> None:
    assert str(KeyNotFoundError("key b'a'")) == "DER_NONEXIST(-1005): key b'a'"


@pytest.mark.parametrize("cls", SIMPLE)
@pytest.mark.parametrize("duplicate", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_are_whole(cls: type[DaosError], duplicate: object) -> None:
    error = cls("what", code=DER.EP_OLD)
    error.lsn = 17
    error.add_note("why")
    assert callable(duplicate)
    other = duplicate(error)
    assert type(other) is cls
    assert (str(other), other.code, other.errno, other.lsn, other.args, other.__notes__) == (
        str(error),
        DER.EP_OLD,
        errno.EPERM,
        17,
        error.args,
        ["why"],
    )


def test_corrupt_says_where() -> None:
    error = CorruptError("wal header crc", offset=24, want=0x10, got=b"x")
    assert str(error) == "DER_CSUM(-2021): wal header crc at byte 24: want 0x10, got b'x'"
    other = pickle.loads(pickle.dumps(error))
    assert (other.what, other.offset, other.want, other.got) == ("wal header crc", 24, 16, b"x")
    assert str(other) == str(error)


@pytest.mark.parametrize("code", list(DER))
def test_every_code_has_an_exception(code: DER) -> None:
    for number in (code, -code):
        error = error_for(number, "text")
        assert error.code is code
        assert error.message == "text"


def test_a_code_comes_back_as_the_class_that_sent_it() -> None:
    for cls in SIMPLE:
        error = error_for(cls.code, "text")
        assert isinstance(error, cls) or issubclass(cls, type(error))
    assert type(error_for(DER.CSUM)) is ChecksumError
    assert type(error_for(DER.NONEXIST)) is NotFoundError


def test_neighbours() -> None:
    assert type(error_for(DER.CONT_NONEXIST)) is NotFoundError
    assert type(error_for(DER.IO_INVAL)) is InvalidError
    assert type(error_for(DER.RF)) is DaosError


def test_unknown_number_stays_readable() -> None:
    assert str(error_for(-77, "odd")) == "DER_UNKNOWN(-501000): odd (error number -77)"
    assert str(error_for(77)) == "DER_UNKNOWN(-501000): (error number 77)"
    assert error_for(DER.UNKNOWN, "text").message == "text"


def test_the_drawing_shows_every_class_and_its_code() -> None:
    drawing = errors.__doc__ or ""
    for cls in CLASSES:
        line = next(line for line in drawing.splitlines() if f" {cls.__name__}" in line)
        assert cls is DaosError or cls.code.name in line.split()
    assert {cls.__name__ for cls in CLASSES} <= set(errors.__all__)
