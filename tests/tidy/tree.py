"""The source tree as parsed modules: what every tidy rule looks at.

A `Module` is parsed once and walked once; rules pick the node kinds that they need from `nodes`.
Imports are resolved to absolute dotted names (relative ones too), with the two facts that decide
whether they count at run time: `lazy` (inside a function) and `typing_only` (under
`if TYPE_CHECKING`).
"""

from __future__ import annotations

import ast
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "daos"
CODE_DIRECTORIES = ("src", "tests", "bench", "examples")
# Made from the .proto files beside them (src/daos/proto/README.md).
GENERATED = "_pb2.py"

NodeT = TypeVar("NodeT", bound=ast.AST)


class Import(NamedTuple):
    """`target` is absolute: `daos.vos.ilog`, or `daos.vos.ilog.Ilog` for a name of a module."""

    target: str
    line: int
    lazy: bool
    typing_only: bool


@dataclass(slots=True, weakref_slot=True)
class _Walk:
    """One pass over a syntax tree, keeping what cannot be seen from a node alone."""

    nodes: dict[type[ast.AST], list[ast.AST]] = field(default_factory=lambda: defaultdict(list))
    imports: list[tuple[ast.Import | ast.ImportFrom, bool, bool]] = field(default_factory=list)

    def visit(self, node: ast.AST, *, lazy: bool, typing_only: bool) -> None:
        self.nodes[type(node)].append(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imports.append((node, lazy, typing_only))
            return
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            for statement in node.body:
                self.visit(statement, lazy=lazy, typing_only=True)
            for statement in node.orelse:
                self.visit(statement, lazy=lazy, typing_only=typing_only)
            return
        inner = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            self.visit(child, lazy=inner, typing_only=typing_only)


@dataclass
class Module:
    """One source file. `path` is relative to the top of the tree; `name` is dotted."""

    path: str
    text: str

    @cached_property
    def name(self) -> str:
        parts = self.path.removeprefix("src/").removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def inside(self) -> str:
        """Path below `src/daos`, the way the rules' tables name files: `vos/ilog.py`."""
        return self.path.removeprefix("src/daos/")

    @property
    def package(self) -> str | None:
        """First component below `daos`; None for `daos` itself and for code outside it."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "daos" and len(parts) > 1 else None

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @cached_property
    def _walk(self) -> _Walk:
        walk = _Walk()
        walk.visit(ast.parse(self.text, self.path), lazy=False, typing_only=False)
        return walk

    def nodes(self, *kinds: type[NodeT]) -> Iterator[NodeT]:
        for kind in kinds:
            yield from self._walk.nodes.get(kind, [])  # type: ignore[misc]  # filed by its type

    @cached_property
    def imports(self) -> list[Import]:
        found = []
        for node, lazy, typing_only in self._walk.imports:
            found += [Import(t, node.lineno, lazy, typing_only) for t in self._targets(node)]
        return found

    def _targets(self, node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        base = node.module or ""
        if node.level:
            here = self.name.split(".")
            up = node.level - (1 if self.is_package else 0)
            base = ".".join([*here[: len(here) - up], *([base] if base else [])])
        return [f"{base}.{alias.name}" for alias in node.names]

    @cached_property
    def names(self) -> dict[str, str]:
        """What each imported local name stands for: `{"t": "time", "sleep": "time.sleep"}`."""
        bound = {}
        for node, _, _ in self._walk.imports:
            for alias, target in zip(node.names, self._targets(node), strict=True):
                if isinstance(node, ast.Import) and alias.asname is None:
                    bound[alias.name.split(".")[0]] = alias.name.split(".")[0]
                else:
                    bound[alias.asname or alias.name] = target
        return bound

    def dotted(self, node: ast.AST) -> str | None:
        """`time.sleep` for an expression that reads so after resolving imports; None for others."""
        match node:
            case ast.Name(id=name):
                return self.names.get(name, name)
            case ast.Attribute(value=value, attr=attr):
                base = self.dotted(value)
                return f"{base}.{attr}" if base else None
            case ast.Call(func=func):
                base = self.dotted(func)
                return f"{base}()" if base else None
        return None


def _is_type_checking(test: ast.expr) -> bool:
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
    return False


def load(root: Path = ROOT) -> list[Module]:
    """Every Python file of the tree's code directories that a person wrote, in a stable order."""
    paths = [
        path
        for directory in CODE_DIRECTORIES
        for path in sorted((root / directory).rglob("*.py"))
        if not path.name.endswith(GENERATED)
    ]
    return [Module(p.relative_to(root).as_posix(), p.read_text("utf-8")) for p in paths]


def text_files(root: Path = ROOT) -> dict[str, str]:
    """Every text file that a clone of the tree would hold, by its relative path."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=root, capture_output=True
    )
    if listing.returncode == 0:
        names = [name for name in listing.stdout.decode().split("\0") if name]
    else:  # an unpacked archive
        names = [
            p.relative_to(root).as_posix()
            for p in root.rglob("*")
            if p.is_file() and not any(part.startswith(".") for part in p.relative_to(root).parts)
        ]
    texts = {}
    for name in sorted(names):
        path = root / name
        if not path.is_file():
            continue  # deleted, not yet committed
        try:
            texts[name] = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # golden bytes
    return texts
