"""An echo: what a round trip costs by itself. A module of an engine's targets, and its client.

    -m mgmt,pool,cont,obj,echo     found in what `install` makes, as pip would, on PYTHONPATH

A target answers at once, in the call-back that heard of the request: no task, nothing looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from bench.load import Ended, run_started
from daos.cart.context import Context, Endpoint, Rpc
from daos.cart.protocol import Procedure, opcode
from daos.engine.access import Access, Caller
from daos.engine.module import Module
from daos.engine.target import Target

MODULE_ID: Final = 61  # those of DAOS are below 14, the largest is 63
VERSION: Final = 1
MODULES: Final = "mgmt,pool,cont,obj,echo"
_ROOT: Final = Path(__file__).resolve().parent.parent
_DISTRIBUTION: Final = "daos_bench_echo-1.0.dist-info"


class Message(msgspec.Struct, array_like=True, frozen=True):
    """What comes back."""

    number: int
    text: bytes


ECHO: Final = Procedure("bench_echo", opcode(MODULE_ID, VERSION, 0), Message, Message)


def answer(rpc: Rpc[Message, Message]) -> None:
    """Send it back."""
    rpc.reply(rpc.request)


class EchoModule(Module):
    """Implements `Module`."""

    name = "echo"
    id = MODULE_ID
    version = VERSION
    access: ClassVar[Access] = {ECHO: Caller.CLIENT}

    def serve_target(self, target: Target) -> None:
        target.xstream.context.serve(ECHO, answer)


async def run_echoes(
    client: Context, endpoints: Sequence[Endpoint], count: int, depth: int, *, deadline_ns: int
) -> float:
    """Seconds for so many round trips, to these endpoints in turn."""
    several = len(endpoints)

    def start(index: int, ended: Ended) -> None:
        client.send(
            endpoints[index % several],
            ECHO,
            Message(index, b"x"),
            deadline_ns=deadline_ns,
            done=lambda _reply, _nbytes, error: ended(error),
        )

    return await run_started(count, depth, start)


def install(directory: Path) -> str:
    """Make `directory` a place where engines find the module; what PYTHONPATH has to have."""
    info = directory / _DISTRIBUTION
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: daos-bench-echo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[daos.engine.modules]\necho = {EchoModule.__module__}:{EchoModule.__name__}\n"
    )
    return f"{directory}:{_ROOT}"
