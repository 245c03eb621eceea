"""zarr's own suite for stores, over files of a container, where zarr and pytest-asyncio are there.

    .venv/bin/pip install zarr pytest-asyncio
    ./dev test -o asyncio_mode=auto -o asyncio_default_fixture_loop_scope=function \\
        tests/system/test_fsspec_zarr.py

Source: zarr.testing.store
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from daos.dfs.spec import DaosFileSystem
from tests.system.test_fsspec import served_home

pytest.importorskip("zarr", reason="zarr is not installed: too heavy to be needed")
pytest.importorskip("pytest_asyncio", reason="zarr's suite wants pytest-asyncio")

from zarr.core.buffer import Buffer, cpu
from zarr.storage import FsspecStore
from zarr.testing.store import StoreTests

_paths = (f"/store-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def files() -> Iterator[DaosFileSystem]:
    with served_home() as sockets, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAOS_AGENT_DRPC_DIR", str(sockets))
        files = DaosFileSystem("tank", "home", asynchronous=True)
        yield files
        DaosFileSystem.clear_instance_cache()
        files.close()


class TestStore(StoreTests[FsspecStore, cpu.Buffer]):
    store_cls = FsspecStore
    buffer_cls = cpu.Buffer

    @pytest.fixture
    def store_kwargs(
        self, files: DaosFileSystem, request: pytest.FixtureRequest
    ) -> dict[str, Any]:  # as zarr has it
        if request.config.getini("asyncio_mode") != "auto":
            pytest.skip("zarr's suite wants -o asyncio_mode=auto")
        return {"fs": files, "path": next(_paths)}

    async def set(self, store: FsspecStore, key: str, value: Buffer) -> None:
        files = store.fs.files
        path = f"{store.path}/{key}"
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        files.write_bytes(path, value.to_bytes())

    async def get(self, store: FsspecStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(store.fs.files.read_bytes(f"{store.path}/{key}"))

    def test_store_repr(self, store: FsspecStore) -> None:
        assert str(store) == f"<FsspecStore(DaosFileSystem, {store.path})>"

    def test_store_supports_writes(self, store: FsspecStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: FsspecStore) -> None:
        assert store.supports_listing
