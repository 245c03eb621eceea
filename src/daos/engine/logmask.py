"""What is logged, as `D_LOG_MASK` and `dmg server set-logmasks` say it.

    ERR                    everything from ERR on
    ERR,mgmt=DEBUG,rpc=INFO    and more of some facilities

A facility is a package of ours, or what the reference calls one that does the same.

Source: DAOS src/gurt/debug.c d_log_setmasks; features §11.2
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from daos.base.errors import InvalidError

log = logging.getLogger(__name__)

LEVELS: Final = {
    "DEBUG": logging.DEBUG,
    "DBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "NOTE": logging.INFO,
    "WARN": logging.WARNING,
    "ERR": logging.ERROR,
    "ERROR": logging.ERROR,
    "CRIT": logging.CRITICAL,
}
OTHERWISE: Final = "INFO"
# By facility: the package whose loggers it names.
FACILITIES: Final = {
    **{name: name for name in ("bio", "cart", "container", "drpc", "engine", "mgmt", "object")},
    **{name: name for name in ("placement", "pool", "rdb", "vos")},
    "common": "base",
    "server": "engine",
    "rpc": "cart",
    "hg": "cart",
    "bulk": "cart",
    "iv": "engine",
    "grp": "cart",
}
SIZE_MAX: Final = 1024
_ROOT: Final = "daos"


def parse(text: str, *, strict: bool = True) -> dict[str, int]:
    """Levels by logger; that of "" is everything's. What is empty says INFO.

    `strict`: a facility that there is not is an error; else it is passed over.

    Raises: InvalidError
    """
    if len(text) > SIZE_MAX:
        raise InvalidError(f"a log mask has at most {SIZE_MAX} characters, not {len(text)}")
    found = {"": LEVELS[OTHERWISE]}
    for part in filter(None, (each.strip() for each in text.split(","))):
        facility, equals, level = part.rpartition("=")
        if level.upper() not in LEVELS:
            raise InvalidError(f"log mask {text!r}: {level!r} is none of {', '.join(LEVELS)}")
        if not equals:
            found[""] = LEVELS[level.upper()]
        elif (package := FACILITIES.get(facility.lower())) is not None:
            found[f"{_ROOT}.{package}"] = LEVELS[level.upper()]
        elif strict:
            known = ", ".join(sorted(FACILITIES))
            raise InvalidError(f"log mask {text!r}: no facility {facility!r}; there are {known}")
    return found


def apply(levels: Mapping[str, int]) -> None:
    """Log this from now on, in this process, and nothing more of what was asked for before."""
    for package in set(FACILITIES.values()):
        name = f"{_ROOT}.{package}"
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    logging.getLogger().setLevel(levels[""])
    log.debug("log masks: %s", levels)
