"""What the programs print at their end: the reference's words for errors, and the JSON envelope.

    ERROR: daos_server: server: code = 603 description = "..."
    ERROR: daos_server: server: code = 603 resolution = "..."

    {"response": ..., "error": null or "...", "status": 0 or a negative number}

Source: DAOS src/control/cmd/dmg/main.go, src/control/common/cmdutil; features "Conventions shared"
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final

from daos.base.errors import DER, DaosError, error_for
from daos.control.faults import FaultError

FAILED: Final = 1


def hinted(error: DaosError, hint: str) -> DaosError:
    """The same error, and what to do next."""
    return error_for(error.code, f"{error.message}; {hint}")


def show(program: str, error: DaosError, *, as_json: bool) -> None:
    """Print an error."""
    lines = _lines(error)
    if as_json:
        envelope(None, error=lines[0], status=-int(error.code))
    else:
        complain(program, lines)


def _lines(error: DaosError) -> list[str]:
    """What happened, and what to do about it where that is known."""
    if isinstance(error, FaultError):
        lines = [str(error)]
        if error.resolution:
            lines.append(f'{error.domain}: code = {error.number} resolution = "{error.resolution}"')
        return lines
    if error.code in (DER.MISC, DER.INVAL):  # of the tools, as a rule: the text says it all
        return [error.message]
    return [str(error)]


def complain(program: str, lines: Sequence[str]) -> None:
    """Say what went wrong, a line each."""
    for line in lines:
        print(f"ERROR: {program}: {line}", file=sys.stderr)


def envelope(
    response: object,
    *,
    error: str | None = None,
    status: int = 0,
    problems: Sequence[str] = (),
) -> None:
    """Print the object that every command prints with --json; `problems` are an error, too."""
    if problems and error is None:
        error, status = "; ".join(problems), -int(DER.MISC)
    print(
        json.dumps({"response": response, "error": error, "status": status}, indent=2), flush=True
    )
