"""Every implementation of the device seams, real and fake, against the kits."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from daos.bio.device import BlockDevice, DeviceDirectory
from daos.bio.file_device import FileDevice
from daos.bio.file_directory import FileDirectory
from daos.testing.devices import FaultPlan, FaultyDevice, Image, MemoryDevice, MemoryDirectory
from daos.testing.kits.block_device import BlockDeviceKit, DeviceDirectoryKit, FailingDeviceKit
from daos.testing.recording import Journal, RecordingDevice, RecordingDirectory
from daos.testing.simdisk import SimDisk, Wear

TMPFS = Path("/dev/shm")
needs_tmpfs = pytest.mark.skipif(not os.access(TMPFS, os.W_OK), reason="no writable /dev/shm")


class _FileKit(FailingDeviceKit):
    """A file in `self.directory_path`, made at the first opening."""

    direct = True
    directory_path: Path

    async def open_device(self) -> BlockDevice:
        path = self.directory_path / "device"
        if not path.exists():
            path.touch()
            os.truncate(path, self.size_bytes)
        return FileDevice.open(path, direct=self.direct)

    @contextmanager
    def _failing(self, function: str) -> Iterator[None]:
        def fail(*_: object) -> int:
            raise OSError(5, "the medium is gone")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, function, fail)
            yield

    def failing(self, device: BlockDevice, kind: str) -> AbstractContextManager[None]:
        return self._failing({"write": "pwritev", "flush": "fdatasync"}[kind])


class TestFile(_FileKit):
    """O_DIRECT, if the file system of the temporary directory has it."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.directory_path = tmp_path


class TestBufferedFile(TestFile):
    direct = False


class TestSimulated(FailingDeviceKit):
    def setup_method(self) -> None:
        self.disk = SimDisk(random.Random(0))
        self.directory_ = self.disk.directory()

    async def open_device(self) -> BlockDevice:
        if "device" not in self.directory_.names():
            return await self.directory_.create("device", self.size_bytes)
        return await self.directory_.open("device")

    @contextmanager
    def _worn(self, wear: Wear) -> Iterator[None]:
        before, self.disk.wear = self.disk.wear, wear
        yield
        self.disk.wear = before

    def failing(self, device: BlockDevice, kind: str) -> AbstractContextManager[None]:
        return self._worn(Wear(**{"fail_rate" if kind == "write" else "fail_flush_rate": 1.0}))


class TestSimulatedDirectory(DeviceDirectoryKit):
    def setup_method(self) -> None:
        self.disk = SimDisk(random.Random(0))

    async def open_directory(self) -> DeviceDirectory:
        self.disk.power_off()
        return self.disk.directory()


@needs_tmpfs
class TestFileOnTmpfs(_FileKit):
    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with TemporaryDirectory(dir=TMPFS) as path:
            self.directory_path = Path(path)
            yield


class TestMemory(BlockDeviceKit):
    def setup_method(self) -> None:
        self.image = Image(self.size_bytes)

    async def open_device(self) -> BlockDevice:
        return MemoryDevice(self.size_bytes, image=self.image)


class TestUncachedMemory(TestMemory):
    async def open_device(self) -> BlockDevice:
        device = MemoryDevice(self.size_bytes, image=self.image)
        device.cached = False
        return device


class TestRecording(TestMemory):
    async def open_device(self) -> BlockDevice:
        return RecordingDevice(self.size_bytes, image=self.image, journal=Journal())


class TestFaulty(FailingDeviceKit):
    def setup_method(self) -> None:
        self.image = Image(self.size_bytes)

    async def open_device(self) -> BlockDevice:
        return FaultyDevice(MemoryDevice(self.size_bytes, image=self.image), random.Random(0))

    @contextmanager
    def _planned(self, device: FaultyDevice, plan: FaultPlan) -> Iterator[None]:
        device.plan = plan
        yield

    def failing(self, device: BlockDevice, kind: str) -> AbstractContextManager[None]:
        assert isinstance(device, FaultyDevice)
        if kind == "write":
            return self._planned(device, FaultPlan(fail_write=device.writes_seen + 1))
        return self._planned(device, FaultPlan(fail_flush=device.flushes_seen + 1))


class TestFaultyFile(TestFile):
    """The wrapper over a real device."""

    async def open_device(self) -> BlockDevice:
        return FaultyDevice(await super().open_device(), random.Random(0))


class TestFileDirectory(DeviceDirectoryKit):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path

    async def open_directory(self) -> DeviceDirectory:
        return FileDirectory(self.path)


@needs_tmpfs
class TestFileDirectoryOnTmpfs(DeviceDirectoryKit):
    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with TemporaryDirectory(dir=TMPFS) as path:
            self.path = Path(path)
            yield

    async def open_directory(self) -> DeviceDirectory:
        return FileDirectory(self.path)


class TestMemoryDirectory(DeviceDirectoryKit):
    def setup_method(self) -> None:
        self.images: dict[str, Image] = {}

    async def open_directory(self) -> DeviceDirectory:
        return MemoryDirectory(self.images)


class TestRecordingDirectory(TestMemoryDirectory):
    async def open_directory(self) -> DeviceDirectory:
        return RecordingDirectory(self.images)
