from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUCCESS: _ClassVar[Status]
    SUBMITTED: _ClassVar[Status]
    FAILURE: _ClassVar[Status]
    UNKNOWN_MODULE: _ClassVar[Status]
    UNKNOWN_METHOD: _ClassVar[Status]
    FAILED_UNMARSHAL_CALL: _ClassVar[Status]
    FAILED_UNMARSHAL_PAYLOAD: _ClassVar[Status]
    FAILED_MARSHAL: _ClassVar[Status]
SUCCESS: Status
SUBMITTED: Status
FAILURE: Status
UNKNOWN_MODULE: Status
UNKNOWN_METHOD: Status
FAILED_UNMARSHAL_CALL: Status
FAILED_UNMARSHAL_PAYLOAD: Status
FAILED_MARSHAL: Status

class Call(_message.Message):
    __slots__ = ("module", "method", "sequence", "body")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    module: int
    method: int
    sequence: int
    body: bytes
    def __init__(self, module: _Optional[int] = ..., method: _Optional[int] = ..., sequence: _Optional[int] = ..., body: _Optional[bytes] = ...) -> None: ...

class Response(_message.Message):
    __slots__ = ("sequence", "status", "body", "problem", "code")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    status: Status
    body: bytes
    problem: str
    code: int
    def __init__(self, sequence: _Optional[int] = ..., status: _Optional[_Union[Status, str]] = ..., body: _Optional[bytes] = ..., problem: _Optional[str] = ..., code: _Optional[int] = ...) -> None: ...
