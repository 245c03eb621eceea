"""Who may import whom.

`LAYERS` is the picture of ARCHITECTURE.md as data, bottom to top. A package imports packages of
lower rows only, and neighbours on a row do not know each other. Files directly under `daos` (the
public face) stand above `client` and may reach the composition roots only from inside a function
or for their types, so that `import daos` stays light.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.tidy.tree import Import, Module

LAYERS: list[set[str]] = [
    {"base", "proto"},
    {"cart", "placement", "drpc", "telemetry"},
    {"bio"},
    {"vos"},
    {"engine", "rdb"},
    {"dtx"},
    {"object"},
    {"pool"},
    {"container"},
    {"mgmt"},
    {"rebuild"},
    {"control"},
    {"client"},
    {"dfs"},
    {"dfuse", "nvmf", "interop"},
    {"cli", "embedded"},
]
ROW = {name: row for row, names in enumerate(LAYERS) for name in names}
ANYWHERE = "testing"  # fakes and kits: they import everything, only tests import them

# The client library has to be light: it runs in every application.
HEAVY = {"engine", "vos", "bio", "rdb"}

# (module, package): what a handle gives that lives above it, imported where it is first asked for.
# A pool makes file systems, a container opens them; who never asks for one does not load them.
# fsspec loads `dfs/spec.py` by name and gives it names, no client: it connects by itself.
UPWARD = {
    ("client/pool.py", "dfs"),
    ("client/container.py", "dfs"),
    ("client/sync.py", "dfs"),
    ("dfs/spec.py", "embedded"),
}


def packages_above(module: Module) -> Iterator[str]:
    """Imports of a package that is not on a lower row."""
    if not module.path.startswith("src/daos/") or module.package == ANYWHERE:
        return
    here = module.package
    face = "/" not in module.inside
    if face:
        here = None
    if not face and here not in ROW:
        yield f"{module.path}:1: package {here} is in no row of tests/tidy/layers.py"
        return
    row = ROW["client"] + 1 if here is None else ROW[here]
    for use in module.imports:
        there = _package(use)
        if there is None or there == here:
            continue
        if there == ANYWHERE:
            yield f"{module.path}:{use.line}: daos.testing is for tests, not for the product"
        elif there not in ROW:
            if not face:
                yield f"{module.path}:{use.line}: {here} may not import the face daos.{there}"
        elif (module.inside, there) in UPWARD and (use.lazy or use.typing_only):
            continue
        elif ROW[there] >= row and not (face and (use.lazy or use.typing_only)):
            yield f"{module.path}:{use.line}: {here or module.name} may not import {there}"


def _package(use: Import) -> str | None:
    parts = use.target.split(".")
    if parts[0] != "daos":
        return None
    return parts[1] if len(parts) > 1 else "__init__"


def graph(modules: Iterable[Module]) -> dict[str, set[str]]:
    """For every module of the product the modules that importing and calling it brings in.

    An import of `daos.a.b` also runs `daos.a`; imports for types only bring in nothing. The root
    `daos` is left out: it reaches everything, lazily.
    """
    known = {m.name: m for m in modules if m.path.startswith("src/daos/")}
    edges = {}
    for name, module in known.items():
        targets: set[str] = set()
        for use in module.imports:
            if not use.typing_only:
                parts = use.target.split(".")
                targets.update(".".join(parts[:n]) for n in range(2, len(parts) + 1))
        edges[name] = {target for target in targets if target in known} - {name}
    return edges


def is_client_side(module: Module) -> bool:
    """Package `client`, and the `client.py` of every service."""
    return module.package == "client" or (
        module.path.startswith("src/daos/") and PurePosixPath(module.path).name == "client.py"
    )


def heavy_clients(modules: list[Module]) -> Iterator[str]:
    """Chains of imports that lead from client code into a server's storage."""
    edges = graph(modules)
    for module in modules:
        if not is_client_side(module):
            continue
        for chain in _chains(edges, module.name):
            story = " -> ".join(chain)
            yield f"{module.path}:1: client code must stay light; it reaches {chain[-1]}: {story}"


def _chains(edges: dict[str, set[str]], start: str) -> Iterator[list[str]]:
    """The shortest chain into each heavy package that `start` reaches."""
    queue, seen, hit = [[start]], {start}, set[str]()
    while queue:
        chain = queue.pop(0)
        package = chain[-1].split(".")[1]
        if package in HEAVY:
            if package not in hit:
                hit.add(package)
                yield chain
            continue
        for target in sorted(edges.get(chain[-1], set()) - seen):
            seen.add(target)
            queue.append([*chain, target])


# Modules that are started or looked up by name, so nobody imports them.
ENTRY_POINTS = {"__init__.py", "__main__.py"}
ENTRY_PACKAGES = {"cli"}
# Run by `python -m`, and what programs beside it reach it by; looked up by fsspec.
ENTRY_FILES = {"embedded/serve.py", "embedded/remote.py", "dfs/spec.py"}


def dead_modules(modules: list[Module]) -> Iterator[str]:
    """Product files that no product file imports; for `daos.testing` a test's import counts."""
    used_by_product, used_at_all = set[str](), set[str]()
    for module in modules:
        targets = {use.target for use in module.imports}
        targets |= {target.rpartition(".")[0] for target in targets}
        used_at_all |= targets - {module.name}
        if module.path.startswith("src/daos/"):
            used_by_product |= targets - {module.name}
    for module in modules:
        inside = PurePosixPath(module.inside)
        if not module.path.startswith("src/daos/") or inside.name in ENTRY_POINTS:
            continue
        if module.package in ENTRY_PACKAGES or module.inside in ENTRY_FILES:
            continue
        if len(inside.parts) == 1:
            continue
        used = used_at_all if module.package == ANYWHERE else used_by_product
        if module.name not in used:
            yield f"{module.path}:1: no product file imports this module; use it or remove it"
