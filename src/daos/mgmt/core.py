"""The life of a pool as management sees it, and how its size is divided; pure.

    (nothing) --recorded--> CREATING --every part made--> READY --recorded--> DESTROYING --> (gone)

A management service that dies leaves CREATING or DESTROYING behind; both end in (gone) at the next
start: whoever asked for the pool never heard that it was made.
Source: DAOS src/control/system/pool.go (states Creating, Ready, Destroying).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from daos.base.errors import InvalidError
from daos.base.sizes import format_size_binary

# A log of 4 MiB, two checkpoints and some data. Source: DAOS MinPoolTgtSize, 16 MiB of SCM.
SHARD_BYTES_MIN: Final = 16 << 20
SHARD_BYTES_MAX: Final = 1 << 46
_ALIGN: Final = 1 << 20
PRINCIPAL_SIZE_MAX: Final = 255  # characters; Source: features "Naming rules"


class PoolState(StrEnum):
    """As the reference prints it."""

    CREATING = "Creating"
    READY = "Ready"
    DESTROYING = "Destroying"
    UNKNOWN = "Unknown"  # told, never recorded: the pool could not be opened


class PoolRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A pool in the management store, key `pool/<16 bytes>`."""

    uuid: bytes
    label: str
    state: PoolState
    size_bytes: int
    targets: int
    service_ranks: tuple[int, ...]


def shard_bytes(size_bytes: int, *, targets: int) -> int:
    """The part of one target, in whole MiB, rounded down.

    Raises: InvalidError  too small or too large, naming the limit for this number of targets
    """
    each = size_bytes // targets // _ALIGN * _ALIGN
    if each < SHARD_BYTES_MIN:
        raise InvalidError(
            f"a pool of {size_bytes} bytes is too small: {targets} targets need at least "
            f"{format_size_binary(SHARD_BYTES_MIN * targets)}"
        )
    if each > SHARD_BYTES_MAX:
        raise InvalidError(
            f"a pool of {size_bytes} bytes is too large: {targets} targets take at most "
            f"{format_size_binary(SHARD_BYTES_MAX * targets)}"
        )
    return each


def check_principals(owner: str, group: str) -> None:
    """Whose a new pool is. Raises: InvalidError."""
    for what, name in (("owner", owner), ("group", group)):
        if len(name) > PRINCIPAL_SIZE_MAX:
            raise InvalidError(
                f"{what} has {len(name)} characters; at most {PRINCIPAL_SIZE_MAX} are allowed"
            )
