from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class RankResult(_message.Message):
    __slots__ = ("rank", "action", "errored", "msg", "state", "addr")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ERRORED_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADDR_FIELD_NUMBER: _ClassVar[int]
    rank: int
    action: str
    errored: bool
    msg: str
    state: str
    addr: str
    def __init__(self, rank: _Optional[int] = ..., action: _Optional[str] = ..., errored: bool = ..., msg: _Optional[str] = ..., state: _Optional[str] = ..., addr: _Optional[str] = ...) -> None: ...
