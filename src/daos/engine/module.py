"""What a module is to the engine: a name, a number, and procedures to register.

The composition root lists the modules; the engine sets each up on the system xstream and on
every target, and knows nothing of what they do. Module numbers are the opcode bases.
Source: DAOS src/include/daos_srv/daos_engine.h "struct dss_module".
"""

from __future__ import annotations

from typing import Protocol

from daos.engine.target import Target


class TargetModule(Protocol):
    """A module with handlers on every target."""

    name: str
    id: int
    version: int

    def setup_target(self, target: Target) -> None:
        """Register this module's procedures with the target's context; called once a target."""
