"""Other stores are driven where they are installed, and left out where they are not."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from bench import rivals


def test_lmdb_is_always_there(tmp_path: Path) -> None:
    rate = rivals.lmdb_rate(tmp_path, 4, 8, b"value")
    assert rate is not None
    assert rate > 0


def test_what_is_not_installed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert rivals.rocksdb_rate(tmp_path, 2, 4, b"v") is None
    assert rivals.redis_rate(tmp_path, 2, 4, b"v") is None
    assert rivals.fio_rate(tmp_path, 2, 4096) is None
    assert list(tmp_path.iterdir()) == []
