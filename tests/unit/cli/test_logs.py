"""The system's log, where there is one."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daos.base.errors import InvalidError
from daos.cli import logs


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    found = logging.getLogger()
    handlers, level = found.handlers, found.level
    yield found
    for handler in found.handlers:
        if handler not in handlers:
            handler.close()
    found.handlers = handlers
    found.setLevel(level)


def test_the_systems_log(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with pytest.raises(InvalidError, match=r"no log of the system listens at .*; leave it out"):
        logs.to_syslog("INFO", path=path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        log.settimeout(10)
        logs.to_syslog("INFO", path=path)
        logging.getLogger("daos.control.x").info("instance %d stopped", 3)
        told = log.recv(4096).decode().rstrip("\0")
    # Priority: the facility of daemons, 3, times 8, and informational, 6.
    assert re.fullmatch(r"<30>daos_server: .* INFO daos\.control\.x: instance 3 stopped", told)
    assert len(root.handlers) == 1
