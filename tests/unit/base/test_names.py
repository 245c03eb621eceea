"""Names: every rule, from both sides of its limit."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.base.names import check_attribute, check_label, check_snapshot_name, maybe_uuid

UUID_TEXT = "0123abcd-4567-89ab-cdef-0123456789ab"


@pytest.mark.parametrize("label", ["a", "tank", "A:b.c_d-9", "x" * 127])
def test_labels_that_pass(label: str) -> None:
    assert check_label(label, "pool") == label


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("", "0 characters"),
        ("x" * 128, "128 characters"),
        ("a b", "only letters"),
        ("tänk", "only letters"),
        ("a\n", "only letters"),
        (UUID_TEXT, "UUID"),
        (UUID_TEXT.upper(), "UUID"),
        ("pool_label_not_set", "reserved"),
    ],
)
def test_labels_that_are_refused(label: str, says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        check_label(label, "pool")


def test_only_the_canonical_form_is_a_uuid() -> None:
    assert str(maybe_uuid(UUID_TEXT.upper())) == UUID_TEXT
    assert maybe_uuid(UUID_TEXT.replace("-", "")) is None
    assert maybe_uuid("{" + UUID_TEXT[:34] + "}") is None
    assert maybe_uuid("g" * 36) is None


def test_attributes_are_bounded() -> None:
    check_attribute("n" * 511, bytes(64 << 10))
    for name, value in (("", b""), ("n" * 512, b""), ("a\0b", b""), ("n", bytes((64 << 10) + 1))):
        with pytest.raises(InvalidError, match="attribute"):
            check_attribute(name, value)


def test_snapshot_names_are_bounded() -> None:
    assert check_snapshot_name("é" * 128) == "é" * 128
    for name in ("", "n" * 129, "a\0"):
        with pytest.raises(InvalidError, match="snapshot name"):
            check_snapshot_name(name)
