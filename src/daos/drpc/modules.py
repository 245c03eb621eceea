"""Who may be asked for what: the numbers of modules and methods.

Source: DAOS src/include/daos/drpc_modules.h; numbers only of methods that something answers
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ModuleId(IntEnum):
    """Field `module` of a call."""

    TEST = 0  # reserved
    SECURITY_AGENT = 1  # at the agent
    MGMT = 2  # at engines, and a part of it at the agent
    SRV = 3  # at the server
    SECURITY = 4  # at the server


MODULES: Final = len(ModuleId)
