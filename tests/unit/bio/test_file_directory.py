"""How files become devices: preallocated, durable with their names, all or nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daos.base.errors import (
    AccessError,
    BusyError,
    ExistsError,
    NoSpaceError,
    NotFoundError,
    NvmeIoError,
)
from daos.bio.device import BLOCK
from daos.bio.file_directory import FileDirectory

MIB = 1 << 20


def listed(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_space_is_allocated_and_private(tmp_path: Path) -> None:
    async def main() -> None:
        directory = FileDirectory(tmp_path)
        await directory.create("one", MIB)
        await directory.close()

    asyncio.run(main())
    assert allocated(tmp_path / "one") >= MIB
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o600


def test_zeros_are_written_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, int]] = []
    real = os.pwrite

    def noting(descriptor: int, data: memoryview, offset: int) -> int:
        assert not any(data)
        count = real(descriptor, data[: 300 << 10], offset)  # short
        written.append((offset, offset + count))
        return count

    async def main() -> None:
        directory = FileDirectory(tmp_path)
        await directory.create("plain", 3 * MIB)
        assert written == []
        await directory.create("log", 3 * MIB, zero=MIB + 2 * BLOCK)
        await directory.close()

    monkeypatch.setattr(os, "pwrite", noting)
    asyncio.run(main())
    position = 0
    for lo, hi in written:
        assert lo == position
        position = hi
    assert position == MIB + 2 * BLOCK


def test_the_order_of_flushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content before name, name before return: a name that can be seen is a whole device."""
    steps: list[str] = []

    def note(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            what = args[0]
            text = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)
            steps.append(f"{name} {Path(text).name if text != str(tmp_path) else '.'}")
            return real(*args, **kwargs)

        return call

    async def main() -> None:
        directory = FileDirectory(tmp_path)
        for name in ("posix_fallocate", "pwrite", "fsync", "rename", "unlink"):
            monkeypatch.setattr(os, name, note(name, getattr(os, name)))
        device = await directory.create("one", MIB, zero=BLOCK)
        await device.close()
        await directory.destroy("one")
        await directory.close()

    asyncio.run(main())
    assert steps == [
        "posix_fallocate one.creating",
        "pwrite one.creating",
        "fsync one.creating",
        "rename one.creating",
        "fsync .",
        "unlink one",
        "fsync .",
    ]


def test_what_leads_to_a_directory_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device's name is of no use where its directory's is lost."""
    flushed: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "storage" / "devices"
    assert FileDirectory.make(path).path == path
    assert flushed == [str(each) for each in (tmp_path, path.parent, tmp_path.parent)]
    flushed.clear()
    FileDirectory.make(path)
    assert flushed == []


@pytest.mark.parametrize("function", ["posix_fallocate", "pwrite", "fsync", "rename"])
@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, NoSpaceError), (errno.EIO, NvmeIoError)]
)
def test_a_failed_create_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    number: int,
    kind: type[Exception],
) -> None:
    async def main() -> None:
        directory = FileDirectory(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, function, failing(number))
            with pytest.raises(kind, match="create device 'one' of 1048576 bytes"):
                await directory.create("one", MIB, zero=BLOCK)
        assert listed(tmp_path) == []
        await directory.create("one", MIB)
        await directory.close()

    asyncio.run(main())


def test_more_than_the_file_system_holds(tmp_path: Path) -> None:
    async def main() -> None:
        directory = FileDirectory(tmp_path)
        with pytest.raises(NoSpaceError):
            await directory.create("one", 1 << 60)
        assert listed(tmp_path) == []
        await directory.close()

    asyncio.run(main())


def test_what_a_crash_left_half_made_is_removed(tmp_path: Path) -> None:
    async def main() -> None:
        for name in ("one", "two"):
            (tmp_path / f"{name}.creating").write_bytes(b"half")
        directory = FileDirectory(tmp_path)
        assert directory.names() == []
        with pytest.raises(NotFoundError):
            await directory.open("one")
        await directory.create("one", MIB)
        assert listed(tmp_path) == ["one"]
        await directory.close()

    asyncio.run(main())


def test_creating_several_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        directory = FileDirectory(tmp_path)
        names = [f"device-{n}" for n in range(8)]
        await asyncio.gather(*(directory.create(name, MIB) for name in names))
        assert directory.names() == listed(tmp_path) == names
        results = await asyncio.gather(
            directory.create("same", MIB), directory.create("same", MIB), return_exceptions=True
        )
        assert [isinstance(result, BusyError) for result in results] == [False, True]
        await directory.close()

    asyncio.run(main())


def test_a_cancelled_create_goes_on_behind_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()
    real = os.fsync

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        started = asyncio.Event()

        def slow(descriptor: int) -> None:
            loop.call_soon_threadsafe(started.set)
            hold.wait()
            real(descriptor)

        directory = FileDirectory(tmp_path)
        monkeypatch.setattr(os, "fsync", slow)
        creating = asyncio.ensure_future(directory.create("one", MIB))
        await started.wait()
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        for refused in (directory.create("one", MIB), directory.open("one")):
            with pytest.raises(BusyError):
                await refused
        hold.set()
        await asyncio.to_thread(int)  # waits behind the first in the only thread
        with pytest.raises(ExistsError):
            await directory.create("one", MIB)
        await directory.open("one")
        await directory.close()

    asyncio.run(main())


def test_errors_of_the_directory_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        directory = FileDirectory(tmp_path / "missing")
        with pytest.raises(NotFoundError, match="missing"):
            directory.names()
        with pytest.raises(NotFoundError):
            await directory.create("one", MIB)
        directory = FileDirectory(tmp_path)
        await (await directory.create("one", MIB)).close()
        monkeypatch.setattr(os, "unlink", failing(errno.EROFS))
        with pytest.raises(AccessError, match="destroy device 'one'"):
            await directory.destroy("one")
        await directory.close()

    asyncio.run(main())
