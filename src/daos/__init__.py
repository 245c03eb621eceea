"""DAOS in Python: a versioned, transactional object store.

    with daos.local("./data") as system:       a whole system inside this process
    with daos.connect() as client:             a system that servers keep, by this host's agent
    daos.aio                                   the same interface for asyncio
    daos.DaosError, daos.DER                   what can go wrong, see daos.base.errors
    daos.ObjectId, daos.ObjectType, daos.Cond  what calls take and give

A name is loaded when it is first used. `import daos` itself loads nothing of the package and costs
less than a millisecond, so that a script which only wants an exception class need not wait.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers read it as true; `typing` alone would cost 10 ms
if TYPE_CHECKING:
    from typing import Final

    from daos.base.errors import (
        DER,
        AccessError,
        AgainError,
        BusyError,
        CanceledError,
        ChecksumError,
        CorruptError,
        DaosError,
        DataLossError,
        DeadlineError,
        ExistsError,
        HlcSyncError,
        InProgressError,
        InvalidError,
        KeyNotFoundError,
        KeyTooBigError,
        NoSpaceError,
        NotFoundError,
        NotSupportedError,
        NvmeIoError,
        OverloadError,
        ProtocolError,
        RecordTooBigError,
        ShutdownError,
        StaleHandleError,
        StaleMapError,
        TxRestartError,
        TxUncertainError,
    )
    from daos.base.ids import ObjectId, ObjectType
    from daos.base.iod import Cond
    from daos.base.sizes import parse_size
    from daos.client.diff import Change, ChangedRange
    from daos.client.event import Event, EventQueue
    from daos.client.memory import Buffer
    from daos.client.sync import Admin, Array, Client, Container, KeyValue, Object, Pool
    from daos.client.values import (
        ContainerInfo,
        Extent,
        Extents,
        PoolInfo,
        Range,
        Snapshot,
        Version,
    )
    from daos.dfs.sync import FileSystem
    from daos.embedded.attached import connect
    from daos.embedded.local import local
    from daos.placement.layout import Layout
    from daos.placement.oid import Hint

__version__: Final = "0.1.0"

__all__ = [
    "DER",
    "AccessError",
    "Admin",
    "AgainError",
    "Array",
    "Buffer",
    "BusyError",
    "CanceledError",
    "Change",
    "ChangedRange",
    "ChecksumError",
    "Client",
    "Cond",
    "Container",
    "ContainerInfo",
    "CorruptError",
    "DaosError",
    "DataLossError",
    "DeadlineError",
    "Event",
    "EventQueue",
    "ExistsError",
    "Extent",
    "Extents",
    "FileSystem",
    "Hint",
    "HlcSyncError",
    "InProgressError",
    "InvalidError",
    "KeyNotFoundError",
    "KeyTooBigError",
    "KeyValue",
    "Layout",
    "NoSpaceError",
    "NotFoundError",
    "NotSupportedError",
    "NvmeIoError",
    "Object",
    "ObjectId",
    "ObjectType",
    "OverloadError",
    "Pool",
    "PoolInfo",
    "ProtocolError",
    "Range",
    "RecordTooBigError",
    "ShutdownError",
    "Snapshot",
    "StaleHandleError",
    "StaleMapError",
    "TxRestartError",
    "TxUncertainError",
    "Version",
    "__version__",
    "aio",
    "connect",
    "local",
    "parse_size",
]

# Where a public name lives; an empty module name: the name is a module of its own.
_HOME: Final[dict[str, str]] = {
    "DER": "daos.base.errors",
    "AccessError": "daos.base.errors",
    "AgainError": "daos.base.errors",
    "BusyError": "daos.base.errors",
    "CanceledError": "daos.base.errors",
    "ChecksumError": "daos.base.errors",
    "CorruptError": "daos.base.errors",
    "DaosError": "daos.base.errors",
    "DataLossError": "daos.base.errors",
    "DeadlineError": "daos.base.errors",
    "ExistsError": "daos.base.errors",
    "HlcSyncError": "daos.base.errors",
    "InProgressError": "daos.base.errors",
    "InvalidError": "daos.base.errors",
    "KeyNotFoundError": "daos.base.errors",
    "KeyTooBigError": "daos.base.errors",
    "NoSpaceError": "daos.base.errors",
    "NotFoundError": "daos.base.errors",
    "NotSupportedError": "daos.base.errors",
    "NvmeIoError": "daos.base.errors",
    "OverloadError": "daos.base.errors",
    "ProtocolError": "daos.base.errors",
    "RecordTooBigError": "daos.base.errors",
    "ShutdownError": "daos.base.errors",
    "StaleHandleError": "daos.base.errors",
    "StaleMapError": "daos.base.errors",
    "TxRestartError": "daos.base.errors",
    "TxUncertainError": "daos.base.errors",
    "Cond": "daos.base.iod",
    "ObjectId": "daos.base.ids",
    "ObjectType": "daos.base.ids",
    "parse_size": "daos.base.sizes",
    "Admin": "daos.client.sync",
    "Array": "daos.client.sync",
    "Buffer": "daos.client.memory",
    "Change": "daos.client.diff",
    "ChangedRange": "daos.client.diff",
    "Client": "daos.client.sync",
    "Container": "daos.client.sync",
    "ContainerInfo": "daos.client.values",
    "Event": "daos.client.event",
    "EventQueue": "daos.client.event",
    "Extent": "daos.client.values",
    "Extents": "daos.client.values",
    "FileSystem": "daos.dfs.sync",
    "Hint": "daos.placement.oid",
    "KeyValue": "daos.client.sync",
    "Layout": "daos.placement.layout",
    "Object": "daos.client.sync",
    "Pool": "daos.client.sync",
    "PoolInfo": "daos.client.values",
    "Range": "daos.client.values",
    "Snapshot": "daos.client.values",
    "Version": "daos.client.values",
    "aio": "",
    "connect": "daos.embedded.attached",
    "local": "daos.embedded.local",
}


def __getattr__(name: str) -> object:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'daos' has no attribute {name!r}")
    if not module:
        return importlib.import_module(f"daos.{name}")
    value: object = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
