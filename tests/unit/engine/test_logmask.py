"""Log masks as `D_LOG_MASK` says them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from daos.base.errors import InvalidError
from daos.engine import logmask


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("", {"": logging.INFO}),
        ("err", {"": logging.ERROR}),
        ("ERR,mgmt=DEBUG,", {"": logging.ERROR, "daos.mgmt": logging.DEBUG}),
        ("RPC=WARN", {"": logging.INFO, "daos.cart": logging.WARNING}),
        ("server=DBUG,CRIT", {"": logging.CRITICAL, "daos.engine": logging.DEBUG}),
    ],
)
def test_masks(text: str, levels: dict[str, int]) -> None:
    assert logmask.parse(text) == levels


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("LOUD", "'LOUD' is none of DEBUG, "),
        ("mgmt=LOUD", "'LOUD' is none of"),
        ("mem=ERR", "no facility 'mem'; there are bio, "),
        ("=", "'' is none of"),
        ("E" * 1025, "at most 1024 characters, not 1025"),
    ],
)
def test_wrong_masks(text: str, why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        logmask.parse(text)


def test_facilities_of_the_reference_are_passed_over() -> None:
    assert logmask.parse("mem=ERR,DEBUG", strict=False) == {"": logging.DEBUG}


@pytest.fixture
def kept() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    logmask.apply({"": level})


@pytest.mark.usefixtures("kept")
def test_what_holds_is_what_was_said_last() -> None:
    logmask.apply(logmask.parse("ERR,vos=DEBUG"))
    assert logging.getLogger("daos.vos.update").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("daos.bio.wal").isEnabledFor(logging.INFO)
    logmask.apply(logmask.parse("INFO,bio=ERR"))
    assert not logging.getLogger("daos.vos.update").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("daos.vos.update").isEnabledFor(logging.INFO)
    assert not logging.getLogger("daos.bio.wal").isEnabledFor(logging.INFO)


def test_every_facility_is_a_package() -> None:
    for package in logmask.FACILITIES.values():
        __import__(f"daos.{package}")
