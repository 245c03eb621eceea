"""States of the members of a system.

    AwaitFormat -> Starting -> Ready -> Joined -> Stopping -> Stopped -> Starting ...
                   Starting, Ready, Joined -> Errored -> Starting

Source: DAOS src/control/system/member.go
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final


class MemberState(IntFlag):
    """Bits, so that a query can ask for several."""

    UNKNOWN = 0
    AWAIT_FORMAT = 0x1
    STARTING = 0x2
    READY = 0x4
    JOINED = 0x8
    STOPPING = 0x10
    STOPPED = 0x20
    EXCLUDED = 0x40
    ERRORED = 0x80
    UNRESPONSIVE = 0x100
    ADMIN_EXCLUDED = 0x200
    CHECKER_STARTED = 0x400

    @property
    def text(self) -> str:
        """As the messages have it, in lower case."""
        return (self.name or "unknown").replace("_", "").lower()


ALL: Final = 0xFFFF
# May be asked to serve.
AVAILABLE: Final = MemberState.READY | MemberState.JOINED
