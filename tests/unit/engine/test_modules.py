"""Modules: found by name, put to work in order, ended in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Any, cast

import pytest

from daos.base.errors import ExistsError, InvalidError, NotFoundError
from daos.embedded.modules import own_modules
from daos.engine.module import Facility, Module
from daos.engine.modules import ALIASES, GROUP, Modules
from daos.engine.rank import Engine

NO_ENGINE = cast("Engine", None)


class Noting(Module):
    """Notes what happens to it, and fails where it is told to."""

    version = 1

    def __init__(self, name: str, number: int, notes: list[str], fails: str = "") -> None:
        self.name, self.id = name, number  # type: ignore[misc]  # of the class elsewhere
        self._notes, self._fails = notes, fails

    def _note(self, what: str) -> None:
        self._notes.append(f"{what} {self.name}")
        if what == self._fails:
            raise RuntimeError(f"{what} of {self.name}")

    def init(self) -> None:
        self._note("init")

    def fini(self) -> None:
        self._note("fini")

    async def setup(self, engine: Engine) -> None:
        self._note("setup")

    async def cleanup(self, engine: Engine) -> None:
        self._note("cleanup")


def three(notes: list[str], fails: str) -> list[Noting]:
    """The second one fails."""
    return [Noting("a", 1, notes), Noting("b", 2, notes, fails), Noting("c", 3, notes)]


def test_an_init_that_fails_ends_what_was_begun() -> None:
    notes: list[str] = []
    with pytest.raises(RuntimeError, match="init of b"):
        Modules(three(notes, "init"))
    assert notes == ["init a", "init b", "fini a"]


@pytest.mark.expects_warning("cleanup of module b failed")
def test_setup_stops_and_cleanup_does_not() -> None:
    notes: list[str] = []
    modules = Modules(three(notes, "setup"))
    notes.clear()
    with pytest.raises(RuntimeError, match="setup of b"):
        asyncio.run(modules.setup(NO_ENGINE))
    assert notes == ["setup a", "setup b"]
    modules = Modules(three(notes, "cleanup"))
    notes.clear()
    asyncio.run(modules.cleanup(NO_ENGINE))
    assert notes == ["cleanup c", "cleanup b", "cleanup a"]


def test_unloading() -> None:
    notes: list[str] = []
    modules = Modules(three(notes, ""))
    notes.clear()
    modules.unload("b")
    with pytest.raises(NotFoundError, match="'b' is not loaded"):
        modules.unload("b")
    modules.unload_all()
    assert notes == ["fini b", "fini c", "fini a"]


@pytest.mark.parametrize(("name", "number"), [("a", 2), ("b", 1)])
def test_names_and_ids_are_unique(name: str, number: int) -> None:
    with pytest.raises(ExistsError, match="loaded already"):
        Modules([Noting("a", 1, []), Noting(name, number, [])])


def test_ours_are_found_by_name_and_alias() -> None:
    ours = own_modules()
    assert Modules.load(["mgmt", "pool", "cont", "obj"]).names == ours.names
    assert Modules.load(["management", "po", "co", "object"]).names == ours.names
    assert set(ALIASES.values()) == set(ours.names)
    for module in ours:
        assert module.facilities is Facility.NONE
        assert module.id in range(1, 5)
    with pytest.raises(ExistsError):
        Modules.load(["cont", "container"])


class Other(Module):
    name, id, version = "other", 60, 1


@pytest.mark.parametrize(
    ("name", "target", "complaint"),
    [
        ("plool", None, r"no module 'plool'; there are .*; did you mean 'pool'\?"),
        ("x" * 33, None, "at most 32 characters"),
        ("gone", "daos.nowhere:Nothing", "can't be loaded from daos.nowhere:Nothing"),
        ("text", "daos.base.names:LABEL_SIZE_MAX", "no class of modules"),
        ("mine", "tests.unit.engine.test_modules:Other", "calls itself 'other'"),
    ],
)
def test_what_is_no_module(
    name: str, target: str | None, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = metadata.entry_points
    more = [] if target is None else [EntryPoint(name, target, GROUP)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: [*real(group=group), *more])
    with pytest.raises(InvalidError, match=complaint):
        Modules.load(["pool", name])
