"""What `daos://` names, before anybody connects."""

from __future__ import annotations

import asyncio
import pickle

import fsspec
import pytest
from fsspec.core import url_to_fs

from daos.client.portal import Portal
from daos.dfs.spec import DaosFileSystem


def test_the_protocol_is_registered() -> None:
    assert fsspec.get_filesystem_class("daos") is DaosFileSystem


def test_an_address_has_pool_container_and_path() -> None:
    fs, path = url_to_fs("daos://tank/home/a/b/", auto_mkdir=False)
    assert isinstance(fs, DaosFileSystem)
    assert (fs.pool, fs.container, path, fs.auto_mkdir) == ("tank", "home", "/a/b", False)
    assert fs.unstrip_protocol("/a/b") == "daos://tank/home/a/b"
    assert fs.unstrip_protocol("daos://tank/home/a") == "daos://tank/home/a"
    assert url_to_fs("daos://tank/home") == (DaosFileSystem(pool="tank", container="home"), "/")


@pytest.mark.parametrize(
    ("given", "path"),
    [("a", "/a"), ("/a/", "/a"), ("//a", "/a"), ("", "/"), ("/", "/"), ("daos://p/c", "/")],
)
def test_paths_begin_at_the_root(given: str, path: str) -> None:
    assert DaosFileSystem._strip_protocol(given) == path
    assert DaosFileSystem._strip_protocol([given]) == [path]


@pytest.mark.parametrize("url", ["daos://", "daos://tank", "daos://tank/"])
def test_an_address_without_a_container(url: str) -> None:
    with pytest.raises(ValueError, match="expected daos://"):
        fsspec.open(url)


def test_an_address_of_another_container() -> None:
    fs = DaosFileSystem("tank", "home")
    with pytest.raises(ValueError, match="in another container than daos://tank/home"):
        fs.cat_file("daos://tank/away/a")
    with pytest.raises(ValueError, match="in another container"):
        fs.rm(["/a", "daos://other/home/a"])


def test_instances_are_shared_by_their_names() -> None:
    fs = DaosFileSystem("tank", "home", snapshot="before")
    assert fs is DaosFileSystem("tank", "home", snapshot="before")
    assert fs != DaosFileSystem("tank", "home")
    assert pickle.loads(pickle.dumps(fs)) is fs
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) is fs


def test_a_hop_that_is_given_up_ends() -> None:
    portal = Portal()
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async def give_up() -> None:
        task = asyncio.create_task(portal.hop(wait))
        await portal.hop(_nothing)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await portal.hop(ended.wait)

    async def fail() -> None:
        raise LookupError("nobody")

    asyncio.run(give_up())
    with pytest.raises(LookupError, match="nobody"):
        asyncio.run(portal.hop(fail))
    portal.close()


async def _nothing() -> None:
    pass
