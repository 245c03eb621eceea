"""What people may call things: labels, attributes, snapshots, systems.

    label       1-127 of A-Z a-z 0-9 : . _ -   not a UUID, not one of the "not set" sentinels
    attribute   1-511 characters
    snapshot    1-128 characters
    system      1-15 characters

A name that parses as a UUID would make every look-up ambiguous: each accepts a label or a UUID.
Source: DAOS src/include/daos_prop.h daos_label_is_valid; features "Naming rules".
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from daos.base.errors import InvalidError

LABEL_SIZE_MAX: Final = 127
ATTRIBUTE_NAME_SIZE_MAX: Final = 511
ATTRIBUTE_VALUE_SIZE_MAX: Final = 64 << 10  # ours: the reference sets no limit; bounds a message
SNAPSHOT_NAME_SIZE_MAX: Final = 128

_LABEL: Final = re.compile(r"[A-Za-z0-9:._-]+\Z")
_UNSET: Final = ("pool_label_not_set", "container_label_not_set")


def check_label(label: str, what: str) -> str:
    """`label` as it stands. Raises: InvalidError, saying which rule it breaks."""
    if not 0 < len(label) <= LABEL_SIZE_MAX:
        raise InvalidError(
            f"{what} label has {len(label)} characters; expected 1 to {LABEL_SIZE_MAX}"
        )
    if not _LABEL.match(label):
        raise InvalidError(f"{what} label {label!r}: only letters, digits and : . _ - are allowed")
    if maybe_uuid(label) is not None:
        raise InvalidError(f"{what} label {label!r} reads as a UUID; choose another")
    if label in _UNSET:
        raise InvalidError(f"{what} label {label!r} is reserved")
    return label


def maybe_uuid(name: str) -> UUID | None:
    """The UUID that `name` spells in the canonical form (any case), or None."""
    if len(name) != 36:
        return None
    try:
        uuid = UUID(name)
    except ValueError:
        return None
    return uuid if str(uuid) == name.lower() else None


def check_attribute(name: str, value: bytes) -> None:
    """Raises: InvalidError if a user attribute can't be kept under this name or of this size."""
    if not 0 < len(name) <= ATTRIBUTE_NAME_SIZE_MAX:
        raise InvalidError(
            f"attribute name has {len(name)} characters; expected 1 to {ATTRIBUTE_NAME_SIZE_MAX}"
        )
    if "\0" in name:
        raise InvalidError(f"attribute name {name!r} contains NUL")
    if len(value) > ATTRIBUTE_VALUE_SIZE_MAX:
        raise InvalidError(
            f"attribute {name!r} has {len(value)} bytes; at most {ATTRIBUTE_VALUE_SIZE_MAX}"
        )


def check_snapshot_name(name: str) -> str:
    """`name` as it stands. Raises: InvalidError."""
    if not isinstance(name, str):
        raise InvalidError(f"a snapshot's name is text, not {name!r}")
    if not 0 < len(name) <= SNAPSHOT_NAME_SIZE_MAX or "\0" in name:
        raise InvalidError(
            f"snapshot name has {len(name)} characters; "
            f"expected 1 to {SNAPSHOT_NAME_SIZE_MAX} without NUL"
        )
    return name
