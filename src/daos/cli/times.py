"""Epochs as people read them: points in time of the local zone. Pure.

    iso    2024-05-31T10:20:30.123+00:00                 snapshots
    long   2024-05-31 10:20:30.123456789 +0000 UTC       containers, as Go writes a time

Source: features "HLC encoding", "container query"; DAOS src/control/common/time.go
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final

_EPOCH_NS: Final = 1_609_459_200 * 1_000_000_000  # 2021-01-01
_TICKS_PER_NS: Final = 16
_S: Final = 1_000_000_000


def unix_ns(epoch: int) -> int:
    """When an epoch was drawn, by the clock that drew it."""
    return epoch // _TICKS_PER_NS + _EPOCH_NS


def iso(epoch: int, zone: tzinfo | None = None) -> str:
    """With milliseconds and the zone's offset. `zone` None: the machine's."""
    return _local(epoch, zone).isoformat(timespec="milliseconds")


def long(epoch: int, zone: tzinfo | None = None) -> str:
    """With all digits that are not zero at the end, offset and name of the zone."""
    moment = _local(epoch, zone)
    fraction = f"{unix_ns(epoch) % _S:09d}".rstrip("0")
    point = f".{fraction}" if fraction else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{point} {moment:%z} {moment.tzname()}"


def _local(epoch: int, zone: tzinfo | None) -> datetime:
    ns = unix_ns(epoch)
    moment = datetime.fromtimestamp(ns // _S, UTC).replace(microsecond=ns % _S // 1000)
    return moment.astimezone(zone)
