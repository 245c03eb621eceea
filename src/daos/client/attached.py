"""The synchronous face of a client that the agent of this host attached.

Source: ours; DAOS daos_init
"""

from __future__ import annotations

from pathlib import Path

from daos.base.clock import Clock, Rng
from daos.client.attach import attach
from daos.client.portal import Portal
from daos.client.session import RANGES_MAX
from daos.client.sync import Client as SyncClient


class AttachedClient(SyncClient):
    """The synchronous face, with a loop thread of its own that ends when it is closed."""

    def __init__(
        self,
        socket: Path,
        *,
        system: str,
        clock: Clock,
        rng: Rng,
        timeout: float = 60.0,
        ranges_max: int = RANGES_MAX,
    ) -> None:
        """Raises: as `attach`"""
        portal = Portal(name="daos-client")
        try:
            core = portal.call(
                attach,
                socket,
                system=system,
                clock=clock,
                rng=rng,
                timeout=timeout,
                ranges_max=ranges_max,
            )
        except BaseException:
            portal.close()
            raise
        super().__init__(core, portal)

    def close(self) -> None:
        """Close every pool, end every call and the thread. Idempotent."""
        try:
            super().close()
        finally:
            self._portal.close()
