"""The rules, held against this tree. A failure lists every finding with what to do instead."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.tidy import documents, layers, rules, scenarios, tree
from tests.tidy.tree import ROOT, Module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return tree.load()


@pytest.fixture(scope="module")
def texts() -> Mapping[str, str]:
    return tree.text_files()


@pytest.fixture(scope="module")
def baseline() -> dict[str, int]:
    lines: dict[str, int] = json.loads((ROOT / "tests/tidy/baseline.json").read_text())
    return lines


def report(findings: Iterable[str]) -> None:
    found = sorted(findings)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize(
    "rule",
    [
        layers.packages_above,
        rules.impure,
        rules.vos_is_synchronous,
        rules.banned_names,
        rules.ownerless_tasks,
        rules.broad_handlers,
    ],
    ids=lambda rule: rule.__name__,
)
def test_each_module(rule: Callable[[Module], Iterator[str]], modules: list[Module]) -> None:
    report(finding for module in modules for finding in rule(module))


def test_client_code_is_light(modules: list[Module]) -> None:
    report(layers.heavy_clients(modules))


def test_no_dead_modules(modules: list[Module]) -> None:
    report(layers.dead_modules(modules))


def test_sizes(modules: list[Module], baseline: dict[str, int]) -> None:
    report(finding for module in modules for finding in rules.oversize(module, baseline))


def test_baseline_is_tight(modules: list[Module], baseline: dict[str, int]) -> None:
    report(rules.stale_baseline(modules, baseline))


def test_rule_tables_name_files_that_exist(modules: list[Module]) -> None:
    """A renamed file must not slip out of its rule. Packages yet to come are not missed."""
    present = {module.inside for module in modules}
    packages = {module.package for module in modules}
    named = rules.PURE_FILES | rules.SUPERVISORS
    named |= {place for _, places in rules.BANNED.values() for place in places if "/" in place}
    report(name for name in named if name not in present and name.split("/")[0] in packages)


def test_banned_words(texts: Mapping[str, str]) -> None:
    report(documents.banned_words(texts))


def test_every_package_has_a_readme(texts: Mapping[str, str]) -> None:
    report(documents.package_readmes(texts))


def test_format_pages_are_indexed(texts: Mapping[str, str]) -> None:
    report(documents.format_pages(texts))


def test_scenario_tables_are_true(texts: Mapping[str, str]) -> None:
    report(scenarios.wrong_rows(texts))
    report(scenarios.stale_counts(texts))


def test_links_lead_somewhere(texts: Mapping[str, str]) -> None:
    report(documents.dead_links(texts, ROOT))


HEAVY_EXTRAS = (
    "numpy",
    "grpc",
    "google.protobuf",
    "lmdb",
    "rich",
    "click",
    "uvloop",
    "pytest",
    "hypothesis",
)


def test_import_daos_is_light() -> None:
    program = f"import sys, daos; print(*[m for m in {HEAVY_EXTRAS!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [], "import daos loads these; import them where they are called"
