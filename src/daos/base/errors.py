"""Every exception the system raises on purpose. The tree answers one question: what next?

    DaosError(OSError)                     .code (DER), .errno (POSIX), .message, .lsn
    |
    |   The request is wrong; the same call fails again. Change it.
    |-- InvalidError (ValueError)          INVAL         an argument breaks a rule; the text says
    |-- RecordTooBigError                  REC2BIG       a value is over the buffer or the limit
    |-- KeyTooBigError                     KEY2BIG       a key is over the buffer or the limit
    |-- NotSupportedError                  NOTSUPPORTED  this version cannot do that at all
    |
    |   The request is right, the state of the world refuses it. Look, decide, perhaps act first.
    |-- NotFoundError (FileNotFoundError)  NONEXIST      create it, or treat it as absent
    |   `-- KeyNotFoundError (KeyError)    NONEXIST      the same, from a mapping
    |-- ExistsError (FileExistsError)      EXIST         open it, or choose another name
    |-- AccessError (PermissionError)      NO_PERM       ask the owner, or open with other flags
    |-- NoSpaceError                       NOSPACE       free or extend the pool; nothing changed
    |-- StaleHandleError                   NO_HDL        the handle is closed or revoked: reopen
    |
    |   It may pass. The same call can succeed later or elsewhere; whoever raises does not sleep.
    |-- BusyError                          BUSY          somebody holds it: wait for them
    |-- AgainError                         AGAIN         retry after a pause
    |   `-- OverloadError                  OVERLOAD_RETRY  the same; it says how long a pause
    |-- InProgressError                    INPROGRESS    an earlier operation is undecided: wait
    |-- StaleMapError                      STALE         refresh the pool map, then retry
    |-- TxRestartError                     TX_RESTART    abort, run the transaction once more
    |
    |   The call ended without an answer. Whether it took effect is not known; of an update or
    |   punch the first one says that it did not, the third one that nobody can tell.
    |-- DeadlineError (TimeoutError)       TIMEDOUT      read back before repeating
    |-- CanceledError                      CANCELED      the caller or close() gave it up
    |-- TxUncertainError                   TX_UNCERTAIN  it may have been executed: read back
    |-- ShutdownError                      SHUTDOWN      the service goes away: find another
    |
    |   Bytes or clocks cannot be trusted. Never retry in place; use another copy, then repair.
    |-- ChecksumError                      CSUM          data failed its checksum
    |   `-- CorruptError                   CSUM          a structure did: what, offset, want, got
    |-- DataLossError                      DATA_LOSS     no copy is left; restore from elsewhere
    |-- NvmeIoError                        NVME_IO       the device failed a read, write or flush
    |-- ProtocolError                      PROTO         the peer speaks otherwise: drop the link
    `-- HlcSyncError                       HLC_SYNC      the peer's clock runs ahead: fix clocks

File systems add what only they refuse, with the numbers of POSIX: daos.dfs.errors.

A class stands for what the caller does, a code for what happened: a code without a class of its
own arrives in the class of its neighbour (`error_for`), and in `DaosError` where there is none.
`DaosError(text, code=…)` raises any other code of the table. Errors may be pickled and copied.

Source: codes from DAOS src/include/daos_errno.h; the tree is ours, C has only numbers.
"""

from __future__ import annotations

from typing import Final

from daos.base.der import DER, der_from_number, der_to_errno, errno_to_der

__all__ = [
    "DER",
    "AccessError",
    "AgainError",
    "BusyError",
    "CanceledError",
    "ChecksumError",
    "CorruptError",
    "DaosError",
    "DataLossError",
    "DeadlineError",
    "ExistsError",
    "HlcSyncError",
    "InProgressError",
    "InvalidError",
    "KeyNotFoundError",
    "KeyTooBigError",
    "NoSpaceError",
    "NotFoundError",
    "NotSupportedError",
    "NvmeIoError",
    "OverloadError",
    "ProtocolError",
    "RecordTooBigError",
    "ShutdownError",
    "StaleHandleError",
    "StaleMapError",
    "TxRestartError",
    "TxUncertainError",
    "der_from_number",
    "der_to_errno",
    "errno_to_der",
    "error_for",
]


class DaosError(OSError):
    """Root of the tree.

    `code` is the DER, `errno` its POSIX neighbour (or the class's own number, `posix`), `message`
    the text without the code. `lsn` is the log position the verdict depends on (0: none): a server
    answers only once it is durable. `unanswered`: the request has left and no answer came, so that
    it may have been executed.
    """

    code: DER = DER.MISC
    posix: int = 0  # where the code is neighbour of another number, or of none
    message: str
    lsn: int = 0
    unanswered: bool = False

    def __init__(self, message: str = "", *, code: DER | None = None) -> None:
        if code is not None:
            self.code = code
        self.message = message or self.code.description
        super().__init__(self.posix or der_to_errno(self.code), self.message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(cls: type[DaosError], state: dict[str, object]) -> DaosError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    OSError.__init__(error, error.posix or der_to_errno(error.code), error.message)
    return error


class InvalidError(DaosError, ValueError):
    """An argument breaks a rule; the text names the argument and the rule."""

    code = DER.INVAL


class RecordTooBigError(DaosError):
    """A value is larger than the buffer that should take it, or than any value may be."""

    code = DER.REC2BIG


class KeyTooBigError(DaosError):
    """A key is larger than the buffer that should take it, or than any key may be."""

    code = DER.KEY2BIG


class NotSupportedError(DaosError):
    """This version cannot do that, for any argument."""

    code = DER.NOTSUPPORTED


class NotFoundError(DaosError, FileNotFoundError):
    """A pool, container, object or name that the call needs is not there."""

    code = DER.NONEXIST


class KeyNotFoundError(NotFoundError, KeyError):
    """A key of a mapping is not there."""


class ExistsError(DaosError, FileExistsError):
    """The name or key is taken."""

    code = DER.EXIST


class AccessError(DaosError, PermissionError):
    """The handle or the user may not do that."""

    code = DER.NO_PERM


class NoSpaceError(DaosError):
    """The pool or device is full. Raised before anything was changed."""

    code = DER.NOSPACE


class StaleHandleError(DaosError):
    """The handle is closed, revoked, or belongs to another process."""

    code = DER.NO_HDL


class BusyError(DaosError):
    """Somebody else holds the resource."""

    code = DER.BUSY


class AgainError(DaosError):
    """Not now; the same call later may succeed."""

    code = DER.AGAIN


class OverloadError(AgainError):
    """Too much waits before it. Come again in `retry_ms`, with the place that it had."""

    code = DER.OVERLOAD_RETRY

    def __init__(
        self,
        message: str = "",
        *,
        code: DER | None = None,
        retry_ms: int = 0,
        enqueue_id: int = 0,
    ) -> None:
        super().__init__(message, code=code)
        self.retry_ms = retry_ms
        self.enqueue_id = enqueue_id


class InProgressError(DaosError):
    """An earlier operation on the same thing is not decided yet."""

    code = DER.INPROGRESS


class StaleMapError(DaosError):
    """The peer's pool map is newer than the caller's."""

    code = DER.STALE


class TxRestartError(DaosError):
    """The transaction met a conflict; run it again at a newer epoch."""

    code = DER.TX_RESTART


class DeadlineError(DaosError, TimeoutError):
    """The absolute deadline of the call passed.

    An update or punch was then not executed; any other call may have taken effect.
    """

    code = DER.TIMEDOUT


class CanceledError(DaosError):
    """The call was given up, by its caller or by close(). It may have taken effect."""

    code = DER.CANCELED


class TxUncertainError(DaosError):
    """Whether the change was made is unknown. It was made once, or not at all."""

    code = DER.TX_UNCERTAIN


class ShutdownError(DaosError):
    """The service is going away."""

    code = DER.SHUTDOWN


class ChecksumError(DaosError):
    """Data failed its checksum. The bytes were not handed out."""

    code = DER.CSUM


class CorruptError(ChecksumError):
    """A stored or received structure failed a check; every `parse` raises this and nothing else.

    Shapes:     offset counts bytes from the start of the structure; want and got are the field
    """

    def __init__(self, what: str, *, offset: int, want: object, got: object) -> None:
        super().__init__(f"{what} at byte {offset}: want {_show(want)}, got {_show(got)}")
        self.what = what
        self.offset = offset
        self.want = want
        self.got = got


class DataLossError(DaosError):
    """No intact copy is left."""

    code = DER.DATA_LOSS


class NvmeIoError(DaosError):
    """The device failed a read, write or flush; after a failed write it takes no more."""

    code = DER.NVME_IO


class ProtocolError(DaosError):
    """The peer's protocol, version or state does not fit ours."""

    code = DER.PROTO


class HlcSyncError(DaosError):
    """The peer's clock is ahead of ours by more than the system tolerates."""

    code = DER.HLC_SYNC


_WITH_OWN_CODE: Final[tuple[type[DaosError], ...]] = (
    InvalidError,
    RecordTooBigError,
    KeyTooBigError,
    NotSupportedError,
    NotFoundError,
    ExistsError,
    AccessError,
    NoSpaceError,
    StaleHandleError,
    BusyError,
    AgainError,
    OverloadError,
    InProgressError,
    StaleMapError,
    TxRestartError,
    DeadlineError,
    CanceledError,
    TxUncertainError,
    ShutdownError,
    ChecksumError,
    DataLossError,
    NvmeIoError,
    ProtocolError,
    HlcSyncError,
)

# Codes without a class of their own, by what the caller does next.
_NEIGHBOUR: Final[dict[DER, type[DaosError]]] = {
    DER.ENOENT: NotFoundError,
    DER.CONT_NONEXIST: NotFoundError,
    DER.NOTYPE: InvalidError,
    DER.NOSCHEMA: InvalidError,
    DER.IO_INVAL: InvalidError,
    DER.REC_SIZE: InvalidError,
    DER.NOSYS: NotSupportedError,
    DER.EP_RO: AccessError,
    DER.EQ_BUSY: BusyError,
    DER.OP_CANCELED: CanceledError,
    DER.UNREG: ProtocolError,
}

_CLASS_OF: Final[dict[DER, type[DaosError]]] = {
    **_NEIGHBOUR,
    **{cls.code: cls for cls in _WITH_OWN_CODE},
}


def error_for(code: int, message: str = "") -> DaosError:
    """The exception for a number from the wire, either sign; not raised, returned.

    An unknown number becomes `DaosError` with `DER.UNKNOWN`, and the text keeps the number.
    """
    der = der_from_number(code)
    if der is DER.UNKNOWN and abs(code) != DER.UNKNOWN:
        message = f"{message} (error number {code})".lstrip()
    return _CLASS_OF.get(der, DaosError)(message, code=der)


def _show(value: object) -> str:
    return f"{value:#x}" if isinstance(value, int) else repr(value)
