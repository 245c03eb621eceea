"""Modules that are imported when something of them is first used.

    if TYPE_CHECKING:
        from daos.proto import mgmt_pb2 as pb
    else:
        pb = Later("daos.proto.mgmt_pb2")

A command line loads the module of a command to print its help, or to complete a word; what the
command works with is loaded when it works.

Source: ours; importlib.util.LazyLoader, which replaces entries of sys.modules
"""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Stands for the module `name`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401  # of whatever module
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)  # found at once from now on
        return value
