"""What an engine process is told before it has a loop. Built by the command line.

Source: DAOS src/engine/init.c parse
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from daos.base.clock import Clock, Rng
from daos.base.directory import told_by
from daos.bio.file_directory import FileDirectory
from daos.bio.meta import MetaConfig
from daos.cart.transport.ranks import RankUri, this_host
from daos.engine.core import AggregationConfig
from daos.engine.cores import Plan
from daos.engine.sched_core import SchedConfig

TARGETS_MAX: Final = 64
SERVER_SOCKET: Final = "daos_server.sock"
STOP_NOTE: Final = "stopped"
_SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Immutable."""

    targets: int
    storage: Path
    sockets: Path  # the directory
    group: str = "daos_server"  # name of the system
    instance: int = 0  # of the engine on its host
    tcp: tuple[str, int] | None = None  # address and port of tag 0
    helpers: int = 0  # of all targets
    cores: Plan = field(default_factory=Plan)
    meta: MetaConfig = field(default_factory=MetaConfig)
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)
    sched: SchedConfig = field(default_factory=SchedConfig)
    clock: Clock
    rng: Rng
    new_loop: Callable[[], asyncio.AbstractEventLoop]

    @property
    def uri(self) -> RankUri:
        """Where this rank is reached."""
        return RankUri(self.sockets, self.tcp, this_host())

    @property
    def note(self) -> Path:
        """The file that tells of an orderly stop."""
        return self.storage / STOP_NOTE

    @property
    def is_new(self) -> bool:
        """Nothing has been stored here yet."""
        return not self.devices(None).exists()

    def directory(self, target: int | None) -> FileDirectory:
        """The devices of one target, or of the system xstream; nobody else's."""
        path = self.devices(target)
        with told_by(path):
            return FileDirectory.make(path)

    def new_live_path(self, target: int | None) -> Path:
        """An empty directory for what need not outlive the process."""
        path = self.storage / "live" / self._name(target)
        with told_by(path):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        return path

    def devices(self, target: int | None) -> Path:
        """Where the devices of a target, or of the system xstream, are files."""
        return self.storage / "devices" / self._name(target)

    @staticmethod
    def _name(target: int | None) -> str:
        return _SYSTEM if target is None else f"target{target}"
