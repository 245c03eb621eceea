"""Faults: refusals of the control plane that tell an administrator what to do next.

    server: code = 603 description = "request system does not match running system (a != b)"

A fault has a number of its own beside its DER code, and crosses gRPC whole, so that the other side
raises what was raised here. Numbers, descriptions and resolutions are the reference's, so that
they can be looked up in its guides; those of configuration files stand in `config/rules.py`.

Source: DAOS src/control/fault/, src/control/server/faults.go, src/control/lib/control/faults.go
"""

from __future__ import annotations

import json
from typing import Final

from daos.base.errors import DER, DaosError, der_from_number, error_for

# The trailer of a gRPC answer that carries an error; `-bin` lets it have any bytes.
TRAILER: Final = "daos-error-bin"
# The number of `connection_refused`.
REFUSED: Final = 506


class FaultError(DaosError):
    """`number` within its `domain`, `description`, and `resolution`: what to do about it."""

    def __init__(
        self,
        domain: str,
        number: int,
        description: str,
        resolution: str = "",
        *,
        code: DER = DER.MISC,
    ) -> None:
        super().__init__(f'{domain}: code = {number} description = "{description}"', code=code)
        self.domain = domain
        self.number = number
        self.description = description
        self.resolution = resolution

    def __str__(self) -> str:
        return self.message


def emit(error: DaosError) -> bytes:
    """`error` for the other side."""
    told: dict[str, object] = {"der": int(error.code), "message": error.message}
    if isinstance(error, FaultError):
        told |= {
            "domain": error.domain,
            "number": error.number,
            "description": error.description,
            "resolution": error.resolution,
        }
    return json.dumps(told).encode()


def parse(raw: bytes, otherwise: str) -> DaosError:
    """What `emit` was given; an error that says `otherwise` where `raw` is nothing of ours."""
    try:
        told = json.loads(raw)
        code = der_from_number(int(told["der"])) or DER.MISC
        if "number" not in told:
            return error_for(code, str(told["message"]))
        texts = [str(told[key]) for key in ("domain", "description", "resolution")]
        return FaultError(texts[0], int(told["number"]), texts[1], texts[2], code=code)
    except (ValueError, KeyError, TypeError, RecursionError):
        return DaosError(otherwise)


# --- of the server ---


def wrong_system(asked: str, running: str) -> FaultError:
    return FaultError(
        "server",
        603,
        f"request system does not match running system ({asked} != {running})",
        "retry the request with the correct system name",
        code=DER.INVAL,
    )


def pool_scm_too_small(per_target: str, total: str) -> FaultError:
    return FaultError(
        "server",
        604,
        f"requested SCM capacity is too small (min {per_target} per target)",
        f"retry the request with a pool size of at least {total}, with at least {total} SCM",
        code=DER.INVAL,
    )


def pool_invalid_ranks(ranks: list[int]) -> FaultError:
    named = ",".join(sorted(map(str, ranks)))
    return FaultError(
        "server",
        606,
        f"pool request contains invalid {'rank' if len(ranks) == 1 else 'ranks'}: {named}",
        "retry the request with a valid set of ranks",
        code=DER.INVAL,
    )


def pool_invalid_rank_count(asked: int, available: int) -> FaultError:
    return FaultError(
        "server",
        607,
        "pool request contains invalid number of ranks "
        f"(requested: {asked}, available: {available})",
        "retry the request with a valid number of ranks",
        code=DER.INVAL,
    )


def pool_invalid_service_replicas(count_max: int) -> FaultError:
    return FaultError(
        "server",
        608,
        f"pool service replicas number should be an odd number between 1 and {count_max}",
        "retry the request with a valid number of pool service replicas",
        code=DER.INVAL,
    )


def data_plane_not_started() -> FaultError:
    return FaultError(
        "server",
        612,
        "DAOS I/O Engine instance not started or not responding on dRPC",
        "retry the operation or check server logs for more details",
        code=DER.AGAIN,
    )


def pool_no_label() -> FaultError:
    return FaultError(
        "server",
        616,
        "cannot create a pool without a pool label",
        "retry the operation with a label set",
        code=DER.INVAL,
    )


def incompatible_components(ours: str, theirs: str) -> FaultError:
    return FaultError(
        "server",
        617,
        f"components {ours} and {theirs} are not compatible",
        "retry the request with compatible components",
        code=DER.CONTROL_INCOMPAT,
    )


def pool_has_containers() -> FaultError:
    return FaultError(
        "server",
        618,
        "cannot destroy a pool with existing containers",
        "retry the operation with the recursive flag set to remove containers along with the pool",
        code=DER.BUSY,
    )


def already_formatted(path: str) -> FaultError:
    return FaultError(
        "storage",
        101,
        f"storage in {path} is formatted already",
        "retry the operation with reformat option to overwrite existing format",
        code=DER.EXIST,
    )


# --- of those who call ---


def bad_host(address: str) -> FaultError:
    return FaultError(
        "client",
        504,
        f"the server name {address!r} could not be resolved",
        "verify that the host name is correct and that it can be resolved using system tools",
        code=DER.UNREACH,
    )


def connection_refused(address: str) -> FaultError:
    return FaultError(
        "client",
        REFUSED,
        f"the server at {address} refused the connection",
        "verify that the server address is correct and that the server is running",
        code=DER.UNREACH,
    )


def timed_out(method: str, seconds: float) -> FaultError:
    return FaultError(
        "client",
        509,
        f"the {method} request timed out after {seconds:g} s",
        "retry the request or check server logs for more information",
        code=DER.TIMEDOUT,
    )
