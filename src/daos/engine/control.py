"""What modules may ask of the engine process that they run in, on behalf of its server.

Source: DAOS src/engine/init.c, src/mgmt/srv_drpc.c
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from daos.base.ids import Rank
from daos.engine.rank import Engine, Member


class Place(NamedTuple):
    """Where a rank of the system is reached."""

    rank: Rank
    uri: str
    incarnation: int


class Device(NamedTuple):
    """A file system that keeps the devices of a rank."""

    uuid: UUID
    targets: tuple[int, ...]  # who share it
    total_bytes: int
    available_bytes: int
    cluster_bytes: int


class Stored(NamedTuple):
    """A pool's part on a rank."""

    pool: UUID
    targets: tuple[int, ...]
    blobs: tuple[int, ...]  # of each of them: what keeps its shard


class Control(Protocol):
    """The process of an engine."""

    @property
    def rank(self) -> Rank | None:
        """Which it is; None until `set_rank`."""

    @property
    def engine(self) -> Engine:
        """The rank at work. Raises: AgainError  it is not set up"""

    def set_rank(self, rank: Rank, key: bytes) -> None:
        """Which rank it is, for life, and the key by which the system's engines know each other.

        Raises: ExistsError  it is another one; InvalidError  that is no key
        """

    def update_group(self, version: int, places: Sequence[Place]) -> None:
        """Where all ranks are, unless a newer version is known. Raises: InvalidError"""

    async def set_up(self, members: Sequence[Member]) -> None:
        """Begin to serve, as one of these ranks.

        Raises: AlreadyError  it has begun; InvalidError, and what a module's `setup` raises
        """

    def prepare_shutdown(self) -> None:
        """A stop follows."""

    def set_log_masks(self, masks: str) -> None:
        """Log this from now on, in all processes of the engine. Raises: InvalidError"""

    def device(self) -> Device:
        """What the devices of this engine are kept on. Raises: DaosError"""

    def stored(self) -> list[Stored]:
        """Which pools are kept there. Raises: DaosError"""
