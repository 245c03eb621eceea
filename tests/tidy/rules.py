"""Rules about one module at a time: purity, banned names, sizes.

Each finding is one line, `path:line: what; what instead`.
"""

from __future__ import annotations

import ast
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tidy.tree import Module

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

# Pure modules: bytes, time and randomness come in as arguments.

PURE_NAMES = {"core.py", "wire.py", "layout.py"}
PURE_FILES = {
    "bio/media.py",
    "bio/space.py",
    "cart/bulk.py",
    "cart/bulk_owner.py",
    "cart/bulk_port.py",
    "cart/bulk_transfer.py",
    "client/task.py",
    "vos/dedup_record.py",
    "vos/dtx_record.py",
    "vos/extents.py",
    "vos/ilog.py",
    "vos/ilog_view.py",
    "vos/keys.py",
    "vos/records.py",
    "vos/newest_table.py",
    "vos/runs.py",
    "vos/timestamps.py",
}
PURE_PACKAGES = {"placement"}
IMPURE = {"asyncio", "time", "random", "uuid", "secrets", "socket", "threading", "logging"}
IMPURE_BUT_FOR = {"uuid.UUID"}  # a type, not a source of randomness


def is_pure(module: Module) -> bool:
    if not module.path.startswith("src/daos/"):
        return False
    name = PurePosixPath(module.path).name
    return name in PURE_NAMES or module.inside in PURE_FILES or module.package in PURE_PACKAGES


def impure(module: Module) -> Iterator[str]:
    if not is_pure(module):
        return
    for use in module.imports:
        if use.typing_only or use.target in IMPURE_BUT_FOR:
            continue
        if (top := use.target.split(".")[0]) in IMPURE:
            yield f"{module.path}:{use.line}: a pure module imports {top}; take it as an argument"
    yield from _awaits(module, "a pure module")
    yield from _opens(module, "a pure module")


def vos_is_synchronous(module: Module) -> Iterator[str]:
    if module.package == "vos":
        yield from _awaits(module, "vos")
        yield from _opens(module, "vos")


def _awaits(module: Module, who: str) -> Iterator[str]:
    nodes: Iterator[ast.Await | ast.AsyncFor | ast.AsyncWith | ast.AsyncFunctionDef]
    nodes = module.nodes(ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)
    for node in nodes:
        yield f"{module.path}:{node.lineno}: {who} awaits nothing; return what to wait for"


def _opens(module: Module, who: str) -> Iterator[str]:
    for node in module.nodes(ast.Call):
        if module.dotted(node.func) in {"open", "io.open", "os.open"}:
            yield f"{module.path}:{node.lineno}: {who} opens no files; take the bytes"


# Banned names.

_CLOCK = "take a daos.base.clock.Clock"
_RNG = "take a daos.base.clock.Rng"
_CONFIG = "take it as configuration from the composition root"
_FLUSH = "flush through a bio BlockDevice"

# name -> (what to do instead, files or packages that may use it)
BANNED: dict[str, tuple[str, set[str]]] = {
    "time.time": (_CLOCK, {"base/clock.py"}),
    "time.time_ns": (_CLOCK, {"base/clock.py"}),
    "time.monotonic": (_CLOCK, {"base/clock.py"}),
    "time.monotonic_ns": (_CLOCK, {"base/clock.py"}),
    "time.perf_counter": (_CLOCK, {"base/clock.py"}),
    "time.perf_counter_ns": (_CLOCK, {"base/clock.py"}),
    "time.sleep": ("wait for the event itself, with a deadline", set()),
    "datetime.datetime.now": (_CLOCK, set()),
    "datetime.datetime.utcnow": (_CLOCK, set()),
    "datetime.datetime.today": (_CLOCK, set()),
    "datetime.date.today": (_CLOCK, set()),
    "uuid.uuid1": ("daos.base.clock.uuid_from(rng)", set()),
    "uuid.uuid4": ("daos.base.clock.uuid_from(rng)", set()),
    "os.urandom": (_RNG, set()),
    "random.SystemRandom": (_RNG, {"cli", "embedded"}),  # the real one, chosen by the root
    "os.environ": (_CONFIG, {"cli", "embedded", "testing/sim/campaign.py"}),
    "os.environb": (_CONFIG, {"cli", "embedded"}),
    "os.getenv": (_CONFIG, {"cli", "embedded"}),
    "os.fsync": (_FLUSH, {"bio", "base/directory.py"}),
    "os.fdatasync": (_FLUSH, {"bio"}),
    "os.sync": (_FLUSH, set()),
    "print": ("return the text, or log an event", {"cli", "testing/sim/__main__.py"}),
}
RANDOM_TYPES = {"random.Random"}
BANNED_MODULES = {
    "pickle": "describe the bytes with a Repr (docs/format)",
    "shelve": "describe the bytes with a Repr (docs/format)",
    "marshal": "describe the bytes with a Repr (docs/format)",
}


def banned_names(module: Module) -> Iterator[str]:
    if not module.path.startswith("src/daos/"):
        return
    for use in module.imports:
        if instead := BANNED_MODULES.get(use.target.split(".")[0]):
            yield f"{module.path}:{use.line}: {use.target.split('.')[0]} is banned; {instead}"
    nodes: Iterator[ast.Name | ast.Attribute] = module.nodes(ast.Name, ast.Attribute)
    for node in nodes:
        name = module.dotted(node)
        if name is None or not isinstance(node.ctx, ast.Load):
            continue
        if "." in name and _root(node) not in module.names:
            continue  # a local variable of that name
        if name in BANNED:
            instead, allowed = BANNED[name]
            if not {module.inside, module.package} & allowed:
                yield f"{module.path}:{node.lineno}: {name} is banned here; {instead}"
        elif _is_global_randomness(name):
            yield f"{module.path}:{node.lineno}: {name} is banned here; {_RNG}"


def _root(node: ast.AST) -> str | None:
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return node.id if isinstance(node, ast.Name) else None


def _is_global_randomness(name: str) -> bool:
    """A function of the module `random`; its classes are types to annotate and to seed."""
    return name.count(".") == 1 and name.startswith("random.") and name not in RANDOM_TYPES


# Tasks without an owner.

SPAWNERS = {"create_task", "ensure_future"}


def ownerless_tasks(module: Module) -> Iterator[str]:
    """`x.create_task(…)` with a dropped result: the loop holds tasks weakly, errors go unseen.

    A TaskGroup (a name that ends in `group` or is `tg`) owns its tasks. Elsewhere the result has to
    go somewhere: into an attribute, a call such as `tasks.add(…)`, a return, or a local name
    that is used again.
    """
    if not module.path.startswith("src/daos/"):
        return
    for statement in module.nodes(ast.Expr):
        if _spawns(module, statement.value):
            yield _ownerless(module, statement)
    for function in module.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        read = {
            n.id
            for n in ast.walk(function)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and _spawns(module, node.value):
                target = node.targets[0]
                if isinstance(target, ast.Name) and target.id not in read:
                    yield _ownerless(module, node)


def _spawns(module: Module, node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    match node.func:
        case ast.Attribute(value=owner, attr=attr) if attr in SPAWNERS:
            name = (module.dotted(owner) or "").rsplit(".", 1)[-1]
            return not (name.endswith("group") or name == "tg")
        case ast.Name():
            return (module.dotted(node.func) or "").startswith(
                "asyncio."
            ) and node.func.id in SPAWNERS
    return False


def _ownerless(module: Module, node: ast.stmt) -> str:
    where = f"{module.path}:{node.lineno}"
    return f"{where}: a task without an owner; use a TaskGroup, or a set that close() awaits"


# Broad handlers.

BROAD = {"Exception", "BaseException"}
# Where a task of ours ends, and whatever went wrong in it has to become an event: the supervisors.
# cart/station.py calls the handlers of services: a bug in one of them is reported to `on_bug`.
# engine/modules.py: a module that fails to clean up does not keep the others from it.
SUPERVISORS = {"cart/station.py", "client/asking.py", "engine/modules.py", "engine/offload.py"}


def broad_handlers(module: Module) -> Iterator[str]:
    """A handler for everything, unless it ends by raising again or is a supervisor."""
    if not module.path.startswith("src/daos/") or module.inside in SUPERVISORS:
        return
    for handler in module.nodes(ast.ExceptHandler):
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        broad = handler.type is None or any(k and module.dotted(k) in BROAD for k in kinds)
        if broad and not isinstance(handler.body[-1], ast.Raise):
            yield _broad(module, handler.lineno)
    for call in module.nodes(ast.Call):
        if module.dotted(call.func) == "contextlib.suppress" and any(
            module.dotted(argument) in BROAD for argument in call.args
        ):
            yield _broad(module, call.lineno)


def _broad(module: Module, line: int) -> str:
    where = f"{module.path}:{line}"
    return f"{where}: a handler for everything; catch the narrowest class, or end by raising again"


# Sizes: they ratchet.

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
POSITIONAL_MAX = 5


def sizes(module: Module) -> Iterator[tuple[str, int, int, int]]:
    """(what, measured, limit, line) for everything of `module` that has a limit."""
    yield f"{module.path} module lines", module.text.count("\n"), MODULE_LINES_MAX, 1
    functions: Iterator[FunctionNode] = module.nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    for node in functions:
        where = f"{module.path} {node.name}"
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        yield f"{where} lines", lines, FUNCTION_LINES_MAX, node.lineno
        if module.path.startswith("src/"):
            yield f"{where} positional parameters", _positional(node), POSITIONAL_MAX, node.lineno


def _positional(node: FunctionNode) -> int:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def oversize(module: Module, baseline: dict[str, int]) -> Iterator[str]:
    """What exceeds its limit, or its line in the baseline: offenders may shrink, never grow."""
    for what, measured, limit, line in sizes(module):
        allowed = max(limit, baseline.get(what, 0))
        if measured > allowed:
            path, _, thing = what.partition(" ")
            yield f"{path}:{line}: {thing}: {measured}, at most {allowed}; split it"


def stale_baseline(modules: list[Module], baseline: dict[str, int]) -> Iterator[str]:
    """Lines of the baseline that could be lowered or removed: the ratchet's click."""
    measured: dict[str, int] = {}
    for module in modules:
        for what, size, limit, _ in sizes(module):
            if size > limit:
                measured[what] = max(size, measured.get(what, 0))
    for what, allowed in baseline.items():
        if what not in measured:
            yield f"tests/tidy/baseline.json: {what!r} meets its limit now; remove the line"
        elif measured[what] < allowed:
            yield f"tests/tidy/baseline.json: {what!r} is {measured[what]} now; lower its line"
