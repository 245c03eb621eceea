"""The note of an orderly stop: written last, taken first.

Source: ours
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from daos.base.directory import flush_directory, told_by
from daos.base.errors import CorruptError
from daos.base.ids import Epoch
from daos.engine.layout import StopNote

log = logging.getLogger(__name__)


def take(path: Path) -> Epoch | None:
    """What the life before noted as its last epoch. The note is gone before there are others.

    Raises: AccessError, InvalidError
    """
    with told_by(path):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        path.unlink()
        flush_directory(path.parent)
    try:
        return StopNote.parse(raw).epoch
    except CorruptError as error:
        log.warning("the note of the last stop is of no use: %s", error)
        return None


def leave(path: Path, epoch: Epoch) -> None:
    """Note that no epoch above this one was given out. Raises: NoSpaceError, AccessError"""
    with told_by(path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, StopNote(epoch).emit())  # a part of it is no note
            os.fsync(fd)
        finally:
            os.close(fd)
        flush_directory(path.parent)
