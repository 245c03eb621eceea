"""What a module is to a target: procedures to register.

The composition root lists the modules and sets each up on every target, which knows nothing of what
they do.
Source: DAOS src/include/daos_srv/daos_engine.h "struct dss_module".
"""

from __future__ import annotations

from typing import Protocol

from daos.engine.target import Target


class TargetModule(Protocol):
    """A module with handlers on every target."""

    def setup_target(self, target: Target) -> None:
        """Register this module's procedures with the target's context; called once a target."""
