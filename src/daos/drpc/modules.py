"""Who may be asked for what: the numbers of modules and methods.

Source: DAOS src/include/daos/drpc_modules.h; numbers only of methods that something answers.
        LIST_POOLS of MGMT is ours: there engines ask their server for it, by the same number
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


class MgmtMethod(IntEnum):
    """Methods of module MGMT: an engine answers its server, the agent answers clients."""

    SET_RANK = 202
    GET_ATTACH_INFO = 206  # the agent
    POOL_CREATE = 207
    POOL_DESTROY = 208
    SET_UP = 209
    SMD_LIST_DEVS = 211
    SMD_LIST_POOLS = 212
    PREP_SHUTDOWN = 218
    LIST_CONTAINERS = 222
    POOL_QUERY = 223
    POOL_SET_PROP = 224
    PING_RANK = 225
    POOL_EVICT = 230
    GROUP_UPDATE = 232
    NOTIFY_EXIT = 233  # the agent
    NOTIFY_POOL_CONNECT = 235  # the agent
    NOTIFY_POOL_DISCONNECT = 236  # the agent
    POOL_GET_PROP = 237
    SET_LOG_MASKS = 238
    POOL_QUERY_TARGETS = 240
    LIST_POOLS = 310


class SrvMethod(IntEnum):
    """Methods of module SRV: a server answers its engines."""

    NOTIFY_READY = 301
