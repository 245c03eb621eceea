"""Which epochs a client's modifications were acknowledged with, seen at its context.

The interface tells no epochs of modifications, as nobody needs them; those who judge do. The tap
stands between a client and its context, and reads the replies to updates and punches.
"""

from __future__ import annotations

from typing import Any

from daos.cart.calling import Call
from daos.cart.context import Context, Endpoint
from daos.cart.protocol import Procedure
from daos.object.wire import PUNCH, UPDATE


class EpochTap:
    """Replies to the calls of one client since `clear`, by dkey."""

    def __init__(self, context: Context) -> None:
        self._send = context.send
        self._seen: dict[bytes, int] = {}
        context.send = self._watched  # type: ignore[method-assign]  # what a tap is for

    def clear(self) -> None:
        """Forget what was seen: another call begins."""
        self._seen.clear()

    def epoch_of(self, dkey: bytes) -> int:
        """Of the change below this dkey; 0: none was acknowledged."""
        return self._seen.get(dkey, 0)

    def _watched(
        self,
        endpoint: Endpoint,
        procedure: Procedure,
        request: Any,  # noqa: ANN401 - of the procedure
        *,
        done: Any,  # noqa: ANN401 - as Context.send
        **how: Any,  # noqa: ANN401 - as Context.send
    ) -> Call[Any]:
        if procedure is not UPDATE and procedure is not PUNCH:
            return self._send(endpoint, procedure, request, done=done, **how)

        def seen(reply: Any, nbytes: int, error: Any) -> None:  # noqa: ANN401 - as Done
            if error is None:
                self._seen[request.dkey] = reply.epoch
            done(reply, nbytes, error)

        return self._send(endpoint, procedure, request, done=seen, **how)
