"""The systems that the API suites (`test_api*.py`) run over.

A suite sees the synchronous face only. What it runs on is a parameter: a transport or a way to run
is added here as one more entry of `SYSTEMS`, and every test of the API runs on it too.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

import daos
from daos.client.portal import Portal
from daos.dfs.mount import Mount
from daos.embedded.remote import connect
from daos.testing.enginesystem import engine_system
from daos.testing.kits.transport_peers import loopback_hosts
from daos.testing.served import Served
from daos.testing.simsystem import simulated_system


class System(Protocol):
    """A running system with pools to make: what `daos.local` gives."""

    @property
    def admin(self) -> daos.Admin: ...

    def connect(self) -> daos.Client: ...


_hosts = loopback_hosts()


@contextmanager
def served(tcp: str | None = None) -> Iterator[System]:
    """A system in another process, reached by a transport between processes."""
    with (
        tempfile.TemporaryDirectory(prefix="daos-") as directory,
        Served(Path(directory), "--targets", "4", tcp=tcp) as there,
        connect(there.address) as system,
    ):
        yield system


@contextmanager
def engines() -> Iterator[System]:
    """Two ranks in processes, a process each target."""
    with (
        tempfile.TemporaryDirectory(prefix="daos-") as directory,
        engine_system(Path(directory), ranks=2, targets=2) as system,
    ):
        yield system


SYSTEMS: dict[str, Callable[[], AbstractContextManager[System]]] = {
    "embedded": lambda: daos.local(targets=4),
    "sm": served,
    "tcp": lambda: served(f"{next(_hosts)}:31416"),
    "engines": engines,
    "sim": simulated_system,
}

POOL_SIZE = "512MiB"
_labels = (f"cont-{number}" for number in itertools.count())


@pytest.fixture(scope="module", params=list(SYSTEMS))
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """A system of its own for each module.

    Its pool keeps old versions until a test asks for aggregation: the clock of a simulated system
    runs ahead while nobody asks for anything.
    """
    with SYSTEMS[request.param]() as system:
        system.admin.pool_create("tank", POOL_SIZE, props={"reclaim": "disabled"})
        yield system


@pytest.fixture(scope="module")
def client(system: System) -> Iterator[daos.Client]:
    with system.connect() as client:
        yield client


@pytest.fixture(scope="module")
def pool(client: daos.Client) -> Iterator[daos.Pool]:
    with client.pool("tank") as pool:
        yield pool


@pytest.fixture
def cont(pool: daos.Pool) -> Iterator[daos.Container]:
    """An empty container, destroyed after the test."""
    cont = pool.create_container(next(_labels))
    yield cont
    cont.close()
    pool.destroy_container(cont.uuid, force=True)


@pytest.fixture
def obj(cont: daos.Container) -> daos.Object:
    """An empty object of hashed keys."""
    return cont.object(cont.new_oid())


@pytest.fixture
def files(pool: daos.Pool) -> Iterator[daos.Container]:
    """An empty container with a file system."""
    cont = pool.create_container(next(_labels), type="POSIX")
    yield cont
    cont.close()
    pool.destroy_container(cont.uuid, force=True)


@pytest.fixture
def portal(files: daos.Container) -> Portal:
    """What calls of the container's file system go through."""
    return files._portal


@pytest.fixture
def mount(files: daos.Container, portal: Portal) -> Mount:
    """The container's file system."""
    return portal.call(Mount.open, files._core)
