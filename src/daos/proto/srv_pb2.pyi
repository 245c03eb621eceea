from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class NotifyReadyReq(_message.Message):
    __slots__ = ("uri", "nctxs", "drpcListenerSock", "instanceIdx", "ntgts", "incarnation", "secondaryUris", "secondaryNctxs", "check_mode")
    URI_FIELD_NUMBER: _ClassVar[int]
    NCTXS_FIELD_NUMBER: _ClassVar[int]
    DRPCLISTENERSOCK_FIELD_NUMBER: _ClassVar[int]
    INSTANCEIDX_FIELD_NUMBER: _ClassVar[int]
    NTGTS_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SECONDARYURIS_FIELD_NUMBER: _ClassVar[int]
    SECONDARYNCTXS_FIELD_NUMBER: _ClassVar[int]
    CHECK_MODE_FIELD_NUMBER: _ClassVar[int]
    uri: str
    nctxs: int
    drpcListenerSock: str
    instanceIdx: int
    ntgts: int
    incarnation: int
    secondaryUris: _containers.RepeatedScalarFieldContainer[str]
    secondaryNctxs: _containers.RepeatedScalarFieldContainer[int]
    check_mode: bool
    def __init__(self, uri: _Optional[str] = ..., nctxs: _Optional[int] = ..., drpcListenerSock: _Optional[str] = ..., instanceIdx: _Optional[int] = ..., ntgts: _Optional[int] = ..., incarnation: _Optional[int] = ..., secondaryUris: _Optional[_Iterable[str]] = ..., secondaryNctxs: _Optional[_Iterable[int]] = ..., check_mode: bool = ...) -> None: ...

class NotifyReadyResp(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
