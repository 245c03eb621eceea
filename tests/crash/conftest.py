"""Live trees of crash tests: many short-lived files, in memory where there is a place for them."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def live_path() -> Generator[Path]:
    root = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=root, prefix="daos-crash-") as path:
        yield Path(path)
