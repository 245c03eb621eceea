"""When an engine that died is started again: not more often than each `min_delay`.

    died --> now, if the last restart is long ago
         --> once, as soon as it is; more deaths until then add nothing

Source: DAOS src/control/server/engine restart manager (`engine_auto_restart_min_delay`)
"""

from __future__ import annotations

_NS = 1_000_000_000


class RestartLimit:
    """Of one engine."""

    def __init__(self, min_delay_s: float) -> None:
        self._min_delay_ns = int(min_delay_s * _NS)
        self._last_ns: int | None = None

    def delay_s(self, now_ns: int) -> float:
        """How long to wait before the restart that is decided now; it counts from its time on."""
        at_ns = now_ns
        if self._last_ns is not None:
            at_ns = max(now_ns, self._last_ns + self._min_delay_ns)
        self._last_ns = at_ns
        return (at_ns - now_ns) / _NS

    def forget(self) -> None:
        """Somebody stopped or started it by hand."""
        self._last_ns = None
