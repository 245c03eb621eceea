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
from daos.base.errors import InvalidError
from daos.control import files

_SYSLOG: Final = Path("/dev/log")
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


def of_tool(path: Path, *, debug: bool, as_json: bool) -> None:
    """Log what a tool does to a file of its user's. Raises: AccessError, InvalidError"""
    with told_by(path):
        handler = logging.FileHandler(path)
    _use(handler, logging.DEBUG if debug else logging.INFO, as_json=as_json)


def to_syslog(mask: str, *, path: Path = _SYSLOG) -> None:
    """Log to the system's log. Raises: InvalidError  there is none"""
    from logging.handlers import SysLogHandler  # sockets and queues: only here

    if not path.is_socket():
        raise InvalidError(f"--syslog: no log of the system listens at {path}; leave it out")
    handler = SysLogHandler(str(path), facility=SysLogHandler.LOG_DAEMON)
    handler.ident = "daos_server: "
    _use(handler, _LEVELS[mask], as_json=False)


def begin(path: Path | None, mask: str, *, as_json: bool) -> None:
    """Log to a file, or to standard error. Raises: AccessError, InvalidError"""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if path is not None:
        files.make_private(path.parent)
        with told_by(path):
            handler = logging.FileHandler(path)
    _use(handler, _LEVELS[mask], as_json=as_json)


def _use(handler: logging.Handler, level: int, *, as_json: bool) -> None:
    text = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(_Json() if as_json else logging.Formatter(text))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
