"""The modules of this distribution, for engines that need not look for them by name.

Source: DAOS src/engine/init.c MODULE_LIST
"""

from __future__ import annotations

from daos.container.module import ContainerModule
from daos.engine.modules import Modules
from daos.mgmt.module import ManagementModule
from daos.object.module import ObjectModule
from daos.pool.module import PoolModule


def own_modules() -> Modules:
    """New ones, for one engine."""
    return Modules([ManagementModule(), PoolModule(), ContainerModule(), ObjectModule()])
