"""fsspec's own suite for implementations, over files of a container: what every `fsspec.*` expects.

Embedded; DAOS_FSSPEC_SYSTEM=engines, sm or tcp runs it over servers.

Source: fsspec.tests.abstract
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fsspec.tests import abstract

import daos
from daos.dfs.spec import DaosFileSystem
from tests.conformance.conftest import SYSTEMS, System


@contextmanager
def in_memory() -> Iterator[System]:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with (
        tempfile.TemporaryDirectory(dir=memory, prefix="daos-") as directory,
        daos.local(directory, targets=1) as system,
    ):
        yield system


@pytest.fixture(scope="module")
def files() -> Iterator[DaosFileSystem]:
    kind = os.environ.get("DAOS_FSSPEC_SYSTEM")
    with SYSTEMS[kind]() if kind else in_memory() as system:
        system.admin.pool_create("tank", "256MiB")
        with system.connect() as client:
            client.pool("tank").create_container("home", type="POSIX").close()
            yield DaosFileSystem("tank", "home", client=client)


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, files: DaosFileSystem) -> DaosFileSystem:
        return files

    @pytest.fixture
    def fs_path(self) -> str:
        return "/suite"


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass
