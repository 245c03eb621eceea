"""`import daos`: what it offers and what it must not load."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import daos
from daos.base import errors, ids


def loaded_by(code: str) -> set[str]:
    """Modules that `code` adds to those a fresh interpreter starts with."""
    show = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True)
        for text in (show, f"{code}\n{show}")
    ]
    before, after = (set(json.loads(run.stdout)) for run in done)
    return after - before


def test_the_import_loads_nothing() -> None:
    assert {name for name in loaded_by("import daos") if name.startswith("daos.")} == set()
    assert not loaded_by("import daos") & {"typing", "enum", "msgspec", "asyncio", "ctypes"}


def test_what_first_uses_load() -> None:
    heavy = {"asyncio", "lmdb", "numpy", "rich", "grpc", "pyeclib", "xxhash", "ctypes"}
    code = "import daos; daos.NotFoundError, daos.DER, daos.ObjectId, daos.Cond, daos.parse_size"
    assert not loaded_by(code) & heavy
    assert "msgspec" not in loaded_by("import daos; daos.DaosError")


def test_names_are_the_same_objects() -> None:
    assert daos.DaosError is errors.DaosError
    assert daos.ObjectId is ids.ObjectId
    assert int(daos.DER.NONEXIST) == 1005
    assert daos.parse_size("1KiB") == 1024
    assert int(daos.Cond.KEY_INSERT) == 2


def test_every_error_is_offered() -> None:
    classes = {name for name in errors.__all__ if name[0].isupper()}
    assert classes <= set(daos.__all__)


def test_names_and_homes_agree() -> None:
    assert set(daos.__all__) == {*daos._HOME, "__version__"}
    assert set(daos.__all__) <= set(dir(daos))
    for name, home in daos._HOME.items():
        if home.startswith("daos.base."):
            assert getattr(daos, name) is getattr(importlib.import_module(home), name)


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = daos.nonsense
    assert not hasattr(daos, "attach")


def test_a_name_may_be_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(daos._HOME, "base", "")
    assert daos.__getattr__("base") is importlib.import_module("daos.base")
