"""The generated code is of the `.proto` files beside it: names, numbers, types, all of them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

import daos.proto

HERE = Path(daos.proto.__file__).parent
FILES = sorted(path.relative_to(HERE) for path in HERE.rglob("*.proto"))
TYPES = {
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}
FIELD = re.compile(r"(?:(repeated) )?([\w.]+|map<\w+, \w+>) (\w+) = (\d+);$")
VALUE = re.compile(r"(\w+) = (-?\d+);$")
CALL = re.compile(r"rpc (\w+)\((\S+)\) returns \((\S+)\)(?: \{\}|;)$")


def written(text: str) -> set[str]:
    """What a `.proto` file declares, a line each: `message.field = number: type`."""
    found, path = set[str](), list[str]()
    for raw in text.splitlines():
        line = raw.split("//")[0].strip()
        if match := re.match(r"(message|enum|service|oneof) (\w+) \{(\})?$", line):
            if match[3] is None:
                path.append("" if match[1] == "oneof" else match[2])
            else:
                found.add(".".join([*path, match[2]]))
        elif line == "}":
            path.pop()
        elif path and (match := CALL.match(line)):
            found.add(f"{path[-1]}.{match[1]}: {match[2]} -> {match[3]}")
        elif path and (match := FIELD.match(line)):
            where = ".".join(part for part in path if part)
            kind = f"{match[1] or ''} {match[2].split('.')[-1]}".strip()
            found.add(f"{where}.{match[3]} = {match[4]}: {kind}")
        elif path and (match := VALUE.match(line)):
            found.add(f"{'.'.join(path)}.{match[1]} = {match[2]}")
        else:
            assert not line or line.startswith(("syntax", "package", "import", "option")), line
    return found


def generated(file: FileDescriptor) -> Iterator[str]:
    for message in file.message_types_by_name.values():
        yield from _message(message, message.name)
    for enum in file.enum_types_by_name.values():
        yield from (f"{enum.name}.{each.name} = {each.number}" for each in enum.values)
    for service in file.services_by_name.values():
        for method in service.methods:
            inside, out = (_relative(t, file) for t in (method.input_type, method.output_type))
            yield f"{service.name}.{method.name}: {inside} -> {out}"


def _message(message: Descriptor, where: str) -> Iterator[str]:
    if not message.fields and not message.nested_types:
        yield where
    for field in message.fields:
        yield f"{where}.{field.name} = {field.number}: {_kind(field)}"
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _message(nested, f"{where}.{nested.name}")
    for enum in message.enum_types:
        yield from (f"{where}.{enum.name}.{each.name} = {each.number}" for each in enum.values)


def _kind(field: FieldDescriptor) -> str:
    of = field.message_type
    if of is not None and of.GetOptions().map_entry:
        key, value = of.fields_by_name["key"], of.fields_by_name["value"]
        return f"map<{_kind(key)}, {_kind(value)}>"
    named = of or field.enum_type
    name = named.name if named is not None else TYPES[field.type]
    return f"repeated {name}" if field.is_repeated else name


def _relative(message: Descriptor, file: FileDescriptor) -> str:
    return message.full_name.removeprefix(f"{file.package}.")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_the_generated_code_is_of_its_file(path: Path) -> None:
    module = importlib.import_module(f"daos.proto.{path.stem}_pb2")
    assert set(generated(module.DESCRIPTOR)) == written((HERE / path).read_text())


def test_all_files_are_looked_at() -> None:
    assert {path.stem for path in FILES} == {
        path.name.removesuffix("_pb2.py") for path in HERE.rglob("*_pb2.py")
    }
