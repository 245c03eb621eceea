"""The note of an orderly stop: written last, taken first.

Source: ours
"""

from __future__ import annotations

import logging
from pathlib import Path

from daos.base.directory import flush_directory, replace, told_by
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
    replace(path, StopNote(epoch).emit())
