"""How commands are told which container, and which path in it.

    POOL CONTAINER …            by label or UUID
    --path PATH …               a path of this host that is marked, or daos://POOL/CONTAINER
    POOL CONTAINER --dfs-path   of `daos filesystem`: a path in the container; or PATH alone

Source: DAOS src/control/cmd/daos/container.go, filesystem.go, util.go resolveAndConnect
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from daos.base.errors import InvalidError
from daos.cli import labels
from daos.cli.frame import Answer
from daos.cli.later import Later

if TYPE_CHECKING:
    from daos.dfs import uns
else:
    uns = Later("daos.dfs.uns")


class Chosen(NamedTuple):
    """A container, as the line names it, and a path in it."""

    pool: str
    container: str
    path: str = "/"
    said: str = ""  # what to call it in an answer
    mark: str = ""  # the local path that is marked with it

    @classmethod
    def at(cls, text: str) -> Chosen:
        """Where a path or address leads. Raises: InvalidError, NoAttributeError."""
        found = uns.resolve(text)
        if not found.container:
            raise InvalidError(f"{text!r} names a pool; expected daos://POOL/CONTAINER[/PATH]")
        return cls(found.pool, found.container, found.path, text, found.mark)


def container(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """Give a command POOL and CONTAINER, or --path, and pass it `chosen`.

    Its other arguments are behind them: with --path, what stands where POOL and CONTAINER would is
    theirs.
    """
    return _selected(function, lambda chosen: {"chosen": chosen})


def named(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """As `container`, for a command that is passed `pool` and `container`."""
    return _selected(function, lambda chosen: {"pool": chosen.pool, "container": chosen.container})


def _selected(
    function: Callable[..., Answer], passed: Callable[[Chosen], dict[str, Any]]
) -> Callable[..., Answer]:
    declared: list[click.Parameter] = getattr(function, "__click_params__", [])
    others = [each for each in reversed(declared) if isinstance(each, click.Argument)]
    needed = [each for each in others if each.required]
    for each in others:
        each.required = False  # until it is known which words are whose

    @labels.maybe_pool
    @labels.maybe_container
    @click.option("--path", metavar="PATH", help="The container that a marked path names.")
    @functools.wraps(function)
    def call(
        *args: object, pool: str | None, container: str | None, path: str | None, **given: object
    ) -> Answer:
        keys = [str(each.name) for each in others]
        words = [word for word in (pool, container, *map(given.get, keys)) if word is not None]
        if path is not None:
            chosen = Chosen.at(path)
        elif len(words) < 2:
            raise InvalidError("name a container: POOL CONTAINER, or --path PATH")
        else:
            chosen = Chosen(str(words[0]), str(words[1]), said=str(words[1]))
            words = words[2:]
        if len(words) > len(others):
            raise InvalidError(f"{words[-1]!r} is too many beside --path")
        if len(words) < len(needed):
            raise InvalidError(f"missing argument {needed[len(words)].human_readable_name}")
        given |= dict(zip(keys, [*words, *[None] * len(others)], strict=False))
        return function(*args, **passed(chosen), **given)

    return call


def place(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """Give a command a path in a container, and pass it `chosen`."""

    @labels.maybe_pool
    @labels.maybe_container
    @click.option("--path", metavar="PATH", help="A path at or below a marked one, or daos://…")
    @click.option("-H", "--dfs-path", metavar="PATH", help="In the container.")
    @click.option("-I", "--dfs-prefix", metavar="PATH", help="Taken off from the --dfs-path.")
    @functools.wraps(function)
    def call(
        *args: object,
        pool: str | None,
        container: str | None,
        path: str | None,
        dfs_path: str | None,
        dfs_prefix: str | None,
        **given: object,
    ) -> Answer:
        alone = pool if container is None else None
        if path is None and alone is not None:
            path, pool = alone, None
        if path is not None:
            if pool is not None or dfs_path is not None or dfs_prefix is not None:
                raise InvalidError("give either a path, or POOL CONTAINER --dfs-path")
            chosen = Chosen.at(path)
        elif pool is None or container is None:
            raise InvalidError("name what is meant: PATH, or POOL CONTAINER --dfs-path PATH")
        elif dfs_path is None:
            raise InvalidError("--dfs-path is required beside POOL CONTAINER")
        else:
            inside = _without(dfs_path, dfs_prefix or "")
            chosen = Chosen(pool, container, inside, dfs_path)
        return function(*args, chosen=chosen, **given)

    return call


def _without(path: str, prefix: str) -> str:
    """Raises: InvalidError (no absolute path, one that does not begin with the prefix)."""
    prefix = prefix.rstrip("/")
    if not path.startswith("/"):
        raise InvalidError(f"--dfs-path {path!r} is no absolute path")
    if prefix and path != prefix and not path.startswith(f"{prefix}/"):
        raise InvalidError(f"--dfs-path {path!r} does not begin with the prefix {prefix!r}")
    return path[len(prefix) :] or "/"
