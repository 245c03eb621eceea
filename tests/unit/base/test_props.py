"""Property tables: defaults, aliases, rules of change, and messages that help."""

from __future__ import annotations

import pytest

from daos.base.errors import AccessError, InvalidError, NotSupportedError
from daos.base.props import Property, Settable, Table, fixed, integer, one_of

TABLE = Table(
    "pool",
    (
        Property(
            name="rd_fac",
            description="Redundancy",
            default="0",
            parse=integer("rd_fac", lo=0, hi=4),
            aliases=("rf",),
        ),
        Property(
            name="cksum",
            description="Checksum",
            default="off",
            parse=one_of("cksum", "off", "crc32"),
            settable=Settable.CREATION,
        ),
        Property(
            name="scrub",
            description="Scrubbing",
            default="off",
            parse=one_of("scrub", "off", "timed"),
            built=False,
        ),
        fixed("version", "Version", "1"),
    ),
)


def test_creation_fills_in_defaults_and_canonical_values() -> None:
    assert TABLE.at_creation({"rf": "03", "cksum": "CRC32"}) == {
        "rd_fac": "3",
        "cksum": "crc32",
        "scrub": "off",
        "version": "1",
    }


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(InvalidError, match="did you mean 'cksum'"):
        TABLE.at_creation({"chksum": "off"})
    with pytest.raises(InvalidError, match="no property 'zzz'; there are rd_fac, "):
        TABLE.at_creation({"zzz": "off"})


@pytest.mark.parametrize("value", ["5", "-1", "", "1e3", "9" * 30, "two"])
def test_bad_numbers(value: str) -> None:
    with pytest.raises(InvalidError, match="rd_fac"):
        TABLE.changes({"rd_fac": value})


def test_a_property_under_two_names_is_refused() -> None:
    with pytest.raises(InvalidError, match="twice"):
        TABLE.changes({"rd_fac": "1", "rf": "1"})


def test_what_is_fixed_stays_fixed() -> None:
    with pytest.raises(AccessError, match="at creation only"):
        TABLE.changes({"cksum": "off"})
    with pytest.raises(AccessError, match="never"):
        TABLE.at_creation({"version": "2"})
    with pytest.raises(InvalidError, match="cksum must be one of off, crc32; got 'md5'"):
        TABLE.at_creation({"cksum": "md5"})


def test_nothing_is_promised_that_nothing_acts_on() -> None:
    assert TABLE.changes({"scrub": "OFF"}) == {"scrub": "off"}
    with pytest.raises(NotSupportedError, match="acts on 'off' only"):
        TABLE.changes({"scrub": "timed"})
    with pytest.raises(InvalidError, match="one of off, timed"):
        TABLE.changes({"scrub": "sometimes"})
