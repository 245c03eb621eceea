"""Which medium a value goes to: inside the tree (SCM), or to data blocks of the device (NVMe).

Small values travel with their record through the log and the checkpoint; large ones are written
once, to blocks of their own, and the record refers to them.

Source: DAOS src/vos/vos_pool.c, vos_policy_media_select
"""

from __future__ import annotations

from enum import Enum
from typing import Final

# DAOS: the pool property DATA_THRESH, default 4 KiB.
THRESHOLD_DEFAULT: Final = 4096


class Medium(Enum):
    """Numbers of the reference's media types (BIO: DAOS_MEDIA_SCM, DAOS_MEDIA_NVME)."""

    SCM = 0
    NVME = 1


def select(nbytes: int, threshold: int = THRESHOLD_DEFAULT, *, has_nvme: bool = True) -> Medium:
    """Where a single value, or one extent of an array, of `nbytes` belongs.

    A threshold of 0, or a target without a data tier, keeps everything in the tree.
    """
    assert nbytes >= 0
    assert threshold >= 0
    if threshold == 0 or not has_nvme or nbytes < threshold:
        return Medium.SCM
    return Medium.NVME
