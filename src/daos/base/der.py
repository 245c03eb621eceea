"""The DER table: every error number that crosses the wire, its text, and its POSIX neighbour.

    0                success
    1001 .. 1046     generic (transport, naming, resources)
    2001 .. 2052     storage (objects, epochs, transactions)
    501000           a number this table does not know

Numbers are positive here and negative in text (`DER_NONEXIST(-1005)`), as the reference prints
them. They travel in RPC replies and are stored in records: never renumber, never reuse.

The two directions to POSIX are not inverse to each other: many DERs share an errno, and an errno
that no DER stands for becomes MISC.

Source: DAOS src/include/daos_errno.h; src/include/daos/common.h daos_der2errno, daos_errno2der
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Final


class DER(IntEnum):
    """One error number. `description` is the reference's sentence for it."""

    description: str

    def __new__(cls, number: int, description: str) -> DER:
        member = int.__new__(cls, number)
        member._value_ = number
        member.description = description
        return member

    def __str__(self) -> str:
        """`DER_NONEXIST(-1005)`, the form of logs and tools."""
        return f"DER_{self.name}({-self.value})"

    SUCCESS = 0, "Success"

    NO_PERM = 1001, "Operation not permitted"
    NO_HDL = 1002, "Invalid handle"
    INVAL = 1003, "Invalid parameters"
    EXIST = 1004, "Entity already exists"
    NONEXIST = 1005, "The specified entity does not exist"
    UNREACH = 1006, "Unreachable node"
    NOSPACE = 1007, "No space on storage target"
    ALREADY = 1008, "Operation already performed"
    NOMEM = 1009, "Out of memory"
    NOSYS = 1010, "Function not implemented"
    TIMEDOUT = 1011, "Time out"
    BUSY = 1012, "Device or resource busy"
    AGAIN = 1013, "Try again"
    PROTO = 1014, "Incompatible protocol"
    UNINIT = 1015, "Device or resource not initialized"
    TRUNC = 1016, "Buffer too short"
    OVERFLOW = 1017, "Data too long for defined data type or buffer size"
    CANCELED = 1018, "Operation canceled"
    OOG = 1019, "Out of group or member list"
    HG = 1020, "Transport layer mercury error"
    UNREG = 1021, "RPC or protocol version not registered"
    ADDRSTR_GEN = 1022, "Failed to generate an address string"
    PMIX = 1023, "PMIx layer error"
    IVCB_FORWARD = 1024, "Incast variable unavailable locally. Must forward"
    MISC = 1025, "Miscellaneous error"
    BADPATH = 1026, "Bad path name"
    NOTDIR = 1027, "Not a directory"
    CORPC_INCOMPLETE = 1028, "Collective RPC failed"
    NO_RAS_RANK = 1029, "No rank is subscribed to RAS"
    NOTATTACH = 1030, "Service group not attached"
    MISMATCH = 1031, "Version mismatch"
    EXCLUDED = 1032, "Rank has been excluded"
    NOREPLY = 1033, "User provided RPC handler did not send reply back"
    DOS = 1034, "Denial of service"
    BAD_TARGET = 1035, "Incorrect target for the RPC"
    GRPVER = 1036, "Group versioning mismatch"
    HLC_SYNC = 1037, "HLC synchronization error"
    NO_SHMEM = 1038, "Not enough shared memory free"
    ADD_METRIC_FAILED = 1039, "Failed to add the specified metric"
    DURATION_MISMATCH = 1040, "Duration end not paired with duration start"
    OP_NOT_PERMITTED = 1041, "Operation not permitted for metric type provided"
    EXCEEDS_PATH_LEN = 1042, "Path name exceeds permitted length"
    METRIC_NOT_FOUND = 1043, "Read failed because metric not found"
    SHMEM_PERMS = 1044, "Unable to access shared memory segment due to incompatible permissions"
    HG_FATAL = 1045, "Fatal transport layer mercury error"
    QUOTA_LIMIT = 1046, "Quota limit reached on the requested resource"

    IO = 2001, "I/O error"
    FREE_MEM = 2002, "Memory free error"
    ENOENT = 2003, "Entity not found"
    NOTYPE = 2004, "Unknown object type"
    NOSCHEMA = 2005, "Unknown object schema"
    NOLOCAL = 2006, "Object is not local"
    STALE = 2007, "Stale pool map version"
    NOTLEADER = 2008, "Not service leader"
    TGT_CREATE = 2009, "Target create error"
    EP_RO = 2010, "Epoch is read only"
    EP_OLD = 2011, "Epoch is too old. All data have been recycled"
    KEY2BIG = 2012, "Key is too large"
    REC2BIG = 2013, "Record is too large"
    IO_INVAL = 2014, "I/O buffers do not match object extents"
    EQ_BUSY = 2015, "Event queue is busy"
    DOMAIN = 2016, "Domain of cluster component do not match"
    SHUTDOWN = 2017, "Service should shut down"
    INPROGRESS = 2018, "Operation now in progress"
    NOTAPPLICABLE = 2019, "Not applicable"
    NOTREPLICA = 2020, "Not a service replica"
    CSUM = 2021, "Checksum error"
    DF_INVAL = 2022, "Unsupported durable format"
    DF_INCOMPT = 2023, "Incompatible durable format version"
    REC_SIZE = 2024, "Record size error"
    TX_RESTART = 2025, "Transaction should restart"
    DATA_LOSS = 2026, "Data lost or not recoverable"
    OP_CANCELED = 2027, "Operation canceled"
    TX_BUSY = 2028, "TX is not committed"
    AGENT_INCOMPAT = 2029, "Agent is incompatible with libdaos"
    NEED_TX = 2030, "To be handled via distributed transaction"
    RF = 2031, "Failures exceed RF"
    FETCH_AGAIN = 2032, "Fetch again"
    TX_UNCERTAIN = 2033, "TX status is uncertain"
    AGENT_COMM = 2034, "Agent communication error"
    ID_MISMATCH = 2035, "ID mismatch"
    TGT_RETRY = 2036, "Retry with other target"
    NOTSUPPORTED = 2037, "Operation not supported"
    CONTROL_INCOMPAT = 2038, "One or more control plane components are incompatible"
    NO_SERVICE = 2039, "No service available"
    TX_ID_REUSED = 2040, "TX ID may be reused"
    UPDATE_AGAIN = 2041, "Update again"
    NVME_IO = 2042, "NVMe I/O error"
    NO_CERT = 2043, "Unable to access one or more certificates"
    BAD_CERT = 2044, "Invalid x509 certificate"
    VOS_PARTIAL_UPDATE = 2045, "Same epoch partial overwrite of array disallowed"
    CHKPT_BUSY = 2046, "Page is temporarily read only due to checkpointing"
    DIV_BY_ZERO = 2047, "Division by zero"
    OVERLOAD_RETRY = 2048, "Retry later because of overloaded service"
    NOT_RESUME = 2049, "Cannot resume former DAOS check instance"
    CONT_NONEXIST = 2050, "Container does not exist"
    CONT_DESTROYING = 2051, "Container is being destroyed"
    IGNORE = 2052, "Item should be ignored"

    UNKNOWN = 501000, "Unknown error number"


_BY_NUMBER: Final[dict[int, DER]] = {int(der): der for der in DER}

_ERRNO_OF: Final[dict[DER, int]] = {
    DER.SUCCESS: 0,
    DER.NO_PERM: errno.EPERM,
    DER.EP_RO: errno.EPERM,
    DER.EP_OLD: errno.EPERM,
    DER.CONT_DESTROYING: errno.EPERM,
    DER.NONEXIST: errno.ENOENT,
    DER.ENOENT: errno.ENOENT,
    DER.INVAL: errno.EINVAL,
    DER.NOTYPE: errno.EINVAL,
    DER.NOSCHEMA: errno.EINVAL,
    DER.NOLOCAL: errno.EINVAL,
    DER.NO_HDL: errno.EINVAL,
    DER.IO_INVAL: errno.EINVAL,
    DER.KEY2BIG: errno.E2BIG,
    DER.REC2BIG: errno.E2BIG,
    DER.EXIST: errno.EEXIST,
    DER.UNREACH: errno.EHOSTUNREACH,
    DER.NOSPACE: errno.ENOSPC,
    DER.ALREADY: errno.EALREADY,
    DER.NOMEM: errno.ENOMEM,
    DER.DOS: errno.ENOMEM,
    DER.TIMEDOUT: errno.ETIMEDOUT,
    DER.BUSY: errno.EBUSY,
    DER.EQ_BUSY: errno.EBUSY,
    DER.AGAIN: errno.EAGAIN,
    DER.PROTO: errno.EPROTO,
    DER.CANCELED: errno.ECANCELED,
    DER.OVERFLOW: errno.EOVERFLOW,
    DER.BADPATH: errno.ENOTDIR,
    DER.NOTDIR: errno.ENOTDIR,
    DER.STALE: errno.ESTALE,
    DER.TX_RESTART: errno.ERESTART,
    DER.NOTSUPPORTED: errno.ENOTSUP,
}

_DER_OF: Final[dict[int, DER]] = {
    0: DER.SUCCESS,
    errno.EPERM: DER.NO_PERM,
    errno.EACCES: DER.NO_PERM,
    errno.ENOMEM: DER.NOMEM,
    errno.EDQUOT: DER.NOSPACE,
    errno.ENOSPC: DER.NOSPACE,
    errno.EEXIST: DER.EXIST,
    errno.ENOENT: DER.NONEXIST,
    errno.EBADF: DER.NO_HDL,
    errno.EWOULDBLOCK: DER.AGAIN,
    errno.EINVAL: DER.INVAL,
    errno.EHOSTUNREACH: DER.UNREACH,
    errno.EALREADY: DER.ALREADY,
    errno.ETIMEDOUT: DER.TIMEDOUT,
    errno.EBUSY: DER.BUSY,
    errno.EPROTO: DER.PROTO,
    errno.ECANCELED: DER.CANCELED,
    errno.EOVERFLOW: DER.OVERFLOW,
    errno.ENOTDIR: DER.NOTDIR,
    errno.ESTALE: DER.STALE,
    errno.ERESTART: DER.TX_RESTART,
    errno.ENOTSUP: DER.NOTSUPPORTED,
    errno.ENOSYS: DER.NOSYS,
    errno.EIO: DER.IO,
}


def der_from_number(number: int) -> DER:
    """The member for a number of either sign; UNKNOWN when the table has none."""
    return _BY_NUMBER.get(abs(number), DER.UNKNOWN)


def der_to_errno(code: DER) -> int:
    """The POSIX number an application sees for `code`; EIO when none is closer.

    Source:     DAOS src/include/daos/common.h daos_der2errno
    """
    return _ERRNO_OF.get(code, errno.EIO)


def errno_to_der(number: int) -> DER:
    """The DER for a POSIX number, either sign; MISC when none is closer.

    Source:     DAOS src/include/daos/common.h daos_errno2der. Ours: EHOSTUNREACH, EALREADY,
                ESTALE, ERESTART and ENOTSUP go back to where they came from; the reference has
                MISC for them
    """
    return _DER_OF.get(abs(number), DER.MISC)
