"""Which medium a value goes to."""

from __future__ import annotations

import pytest

from daos.bio.media import Medium, select


@pytest.mark.parametrize(
    ("nbytes", "threshold", "has_nvme", "medium"),
    [
        (0, 4096, True, Medium.SCM),
        (4095, 4096, True, Medium.SCM),
        (4096, 4096, True, Medium.NVME),
        (1 << 30, 4096, True, Medium.NVME),
        (1 << 30, 4096, False, Medium.SCM),
        (1 << 30, 0, True, Medium.SCM),
        (1, 1, True, Medium.NVME),
        (0, 1, True, Medium.SCM),
    ],
)
def test_select(nbytes: int, threshold: int, has_nvme: bool, medium: Medium) -> None:
    assert select(nbytes, threshold, has_nvme=has_nvme) is medium


def test_the_default_is_one_block() -> None:
    assert select(4095) is Medium.SCM
    assert select(4096) is Medium.NVME


def test_numbers_of_the_reference() -> None:
    assert (Medium.SCM.value, Medium.NVME.value) == (0, 1)
