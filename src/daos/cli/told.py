"""How the programs end: text or JSON, the reference's words for errors, and the exit status.

    ERROR: daos_server: server: code = 603 description = "..."
    ERROR: daos_server: server: code = 603 resolution = "..."

    {"response": ..., "error": null or "...", "status": 0 or a negative number}

Source: DAOS src/control/cmd/dmg/main.go, src/control/common/cmdutil; features "Conventions shared"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from daos.base.errors import DER, DaosError
from daos.control.faults import FaultError

FAILED: Final = 1


def describe(error: DaosError) -> dict[str, Any]:
    """An error as values, to tell it elsewhere."""
    told: dict[str, Any] = {"message": str(error), "status": -int(error.code)}
    if isinstance(error, FaultError) and error.resolution:
        told["resolution"] = (
            f'{error.domain}: code = {error.number} resolution = "{error.resolution}"'
        )
    elif error.code in (DER.MISC, DER.INVAL):  # of the tools, as a rule: the text says it all
        told["message"] = error.message
    return told


def show(program: str, told: Mapping[str, Any], *, as_json: bool) -> None:
    """Print an error that `describe` made."""
    if as_json:
        envelope(None, error=f"{told['message']}", status=int(told.get("status", -DER.MISC)))
    else:
        for text in filter(None, (told["message"], told.get("resolution"))):
            print(f"ERROR: {program}: {text}", file=sys.stderr)


def fail(program: str, told: Mapping[str, Any], *, as_json: bool) -> NoReturn:
    """Print an error, and leave."""
    show(program, told, as_json=as_json)
    sys.stdout.flush()
    sys.exit(FAILED)


def envelope(response: object, *, error: str | None = None, status: int = 0) -> None:
    """Print the object that every command prints with --json."""
    told = {"response": response, "error": error, "status": status}
    print(json.dumps(told, indent=2))
