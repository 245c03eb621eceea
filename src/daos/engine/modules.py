"""The modules of an engine: found by name, put to work in order, ended in reverse.

    names --entry points--> Module classes --init--> Modules --setup--> … --cleanup--> --fini-->

Any distribution may bring a module: an entry point of the group `daos.engine.modules`, which has
the module's name and leads to its class.

    load       a name that nobody knows, or a module that has another one: nothing is loaded
    init       the first failure ends those that were begun, and is raised
    setup      in load order, up to the first failure
    cleanup    all, in reverse; a failure is logged and stops nothing

Source: DAOS src/engine/module.c; entry points instead of dlopen: ours
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from daos.base.errors import DaosError, ExistsError, InvalidError, NotFoundError
from daos.engine import access, iv_wire
from daos.engine.module import DrpcTable, Module
from daos.engine.tls import TlsKey
from daos.engine.xstream import Xstream

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from daos.engine.control import Control
    from daos.engine.rank import Engine
    from daos.engine.target import Target

log = logging.getLogger(__name__)

ModuleT = TypeVar("ModuleT", bound=Module)

GROUP: Final = "daos.engine.modules"
NAME_SIZE_MAX: Final = 32
# Other names that administrators know modules by. Source: DAOS src/engine/init.c modules_load
ALIASES: Final = {
    "object": "obj",
    "po": "pool",
    "container": "cont",
    "co": "cont",
    "management": "mgmt",
}


class Modules:
    """Those of one engine, in load order. Made by `load`, or from objects by who knows them."""

    def __init__(self, modules: Sequence[Module]) -> None:
        """Raises: ExistsError (two of a name or an id), and what a module's `init` raises"""
        self._modules: list[Module] = []
        try:
            for module in modules:
                self._add(module)
        except BaseException:
            self.unload_all()
            raise

    @classmethod
    def load(cls, names: Iterable[str]) -> Self:
        """The modules of these names.

        Raises: InvalidError  there is none of a name, or it calls itself otherwise
                ExistsError   one is named twice
        """
        from importlib.metadata import entry_points  # an embedded system does without

        found = {point.name: point for point in entry_points(group=GROUP)}
        return cls([_find(name, found) for name in names])

    def _add(self, module: Module) -> None:
        for other in self._modules:
            if module.name == other.name or module.id == other.id:
                raise ExistsError(
                    f"module {module.name!r} (id {module.id}) is loaded already, "
                    f"as {other.name!r} (id {other.id})"
                )
        module.init()
        self._modules.append(module)

    @property
    def names(self) -> list[str]:
        """In load order."""
        return [module.name for module in self._modules]

    def find(self, kind: type[ModuleT]) -> ModuleT:
        """The module of this class. Raises: NotFoundError"""
        for module in self._modules:
            if isinstance(module, kind):
                return module
        raise NotFoundError(f"module {kind.name!r} is not loaded")

    @property
    def keys(self) -> list[TlsKey[Any]]:
        """Of all modules that keep something an xstream."""
        return [module.key for module in self._modules if module.key is not None]

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    def unload(self, name: str) -> None:
        """End one. Raises: NotFoundError"""
        for module in self._modules:
            if module.name == name:
                self._modules.remove(module)
                module.fini()
                return
        raise NotFoundError(f"module {name!r} is not loaded")

    def unload_all(self) -> None:
        """End all, in reverse."""
        for name in reversed(self.names):
            self.unload(name)

    def serve_system(self, xstream: Xstream) -> None:
        """Have all answer at tag 0."""
        self._add_metrics(xstream)
        for module in self._modules:
            module.serve_system(xstream)
        self._check(xstream)

    def serve_target(self, target: Target) -> None:
        """Have all answer at a target's tag."""
        self._add_metrics(target.xstream)
        for module in self._modules:
            module.serve_target(target)
        self._check(target.xstream)
        attributes = {
            procedure.opcode: each
            for module in self._modules
            for procedure, each in module.scheduled.items()
        }
        target.xstream.sched.guard(
            target.xstream.context,
            attributes,
            lambda rpc: target.owner_of(rpc.request.address.handle),
        )

    def answer_drpc(self, table: DrpcTable, control: Control) -> None:
        """Have all answer the server of this host."""
        for module in self._modules:
            module.answer_drpc(table, control)

    async def setup(self, engine: Engine) -> None:
        """Put all to work, in load order. Raises: what the first one that fails raises"""
        for module in self._modules:
            await module.setup(engine)

    async def cleanup(self, engine: Engine) -> None:
        """End the work of all, in reverse."""
        for module in reversed(self._modules):
            try:
                await module.cleanup(engine)
            except DaosError as error:
                log.error("cleanup of module %s failed: %s", module.name, error)
            except Exception:  # of a module that is not ours: the others still have to end
                log.exception("cleanup of module %s failed", module.name)

    def _check(self, xstream: Xstream) -> None:
        """Raises: InvalidError  a procedure that nobody may call"""
        tables = [iv_wire.ACCESS, *(module.access for module in self._modules)]
        access.check(xstream.context.procedures, tables)

    def _add_metrics(self, xstream: Xstream) -> None:
        for module in self._modules:
            for metric in module.metrics:
                xstream.metrics.add(f"{module.name}/{metric}")


def _find(name: str, found: dict[str, EntryPoint]) -> Module:
    own = ALIASES.get(name, name)
    if len(own) > NAME_SIZE_MAX:
        raise InvalidError(f"module {own!r}: a name has at most {NAME_SIZE_MAX} characters")
    point = found.get(own)
    if point is None:
        near = difflib.get_close_matches(own, [*found, *ALIASES], n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidError(f"no module {own!r}; there are {', '.join(sorted(found))}{guess}")
    try:
        loaded = point.load()
    except (ImportError, AttributeError) as error:
        raise InvalidError(f"module {own!r} can't be loaded from {point.value}: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Module)):
        raise InvalidError(f"module {own!r}: {point.value} is no class of modules")
    if getattr(loaded, "name", None) != own:
        called = getattr(loaded, "name", "nothing")
        raise InvalidError(f"module {own!r}: {point.value} calls itself {called!r}")
    return loaded()
