"""Where the programs of the control plane log to, and what.

Source: DAOS src/control/logging; levels of `control_log_mask`
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Final

from daos.base.directory import told_by
from daos.control import files

_LEVELS: Final = {
    "DISABLED": logging.CRITICAL + 1,
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "NOTICE": logging.WARNING,
    "ERROR": logging.ERROR,
}


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "level": record.levelname,
            "time": self.formatTime(record),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(told)


def begin(path: Path | None, mask: str, *, as_json: bool) -> None:
    """Log to a file, or to standard error. Raises: AccessError, InvalidError"""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if path is not None:
        files.make_private(path.parent)
        with told_by(path):
            handler = logging.FileHandler(path)
    text = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(_Json() if as_json else logging.Formatter(text))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[mask])
