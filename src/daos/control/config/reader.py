"""Configuration files, read strictly: each key is known, has its kind, and stands once.

    text --yaml nodes--> Table of keys --> Section: values with their lines, notices

What is wrong is told with file and line, and what was probably meant:

    daos_server.yml:12: engines[0]: unknown key 'tragets'; did you mean 'targets'?

A key of the reference that nothing here acts on is either harmless, and told once as a notice, or
asks for something that does not exist, and is refused by name.

Source: ours; the keys are DAOS src/control/server/config/, which refuses unknown ones as well
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import yaml

from daos.base.errors import InvalidError

SIZE_MAX: Final = 1 << 20
_TAG: Final = "tag:yaml.org,2002:"
_SHOWN: Final = 60


class Kind(Enum):
    """What a value looks like."""

    TEXT = "text"
    NUMBER = "a whole number"
    FLAG = "true or false"
    TEXTS = "a list of texts"
    TEXTS_OR_COMMAS = "a list of texts, or one text with commas"
    NUMBERS = "a list of numbers"
    SECTION = "a mapping"
    SECTIONS = "a list of mappings"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is known. `idle`: harmless, why nothing acts on it. `refused`: why it can't be.

    `unless`: values that ask for nothing, which is neither told nor refused.
    """

    kind: Kind
    inside: Mapping[str, Key] = field(default_factory=dict)
    idle: str = ""
    refused: str = ""
    unless: tuple[object, ...] = ()
    lo: int | None = None
    hi: int | None = None
    choices: tuple[str, ...] = ()


Keys = Mapping[str, Key]


class Section:
    """A mapping of a file: values by key, and where they stand."""

    def __init__(self, file: str, where: str, line: int) -> None:
        self.file: Final = file
        self.line: Final = line
        self._where = where
        self._values: dict[str, object] = {}
        self._lines: dict[str, int] = {}

    def put(self, key: str, value: object, line: int) -> None:
        self._values[key] = value
        self._lines[key] = line

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def at(self, key: str) -> str:
        """`file:line` of a key, or of the section where the key is not given."""
        return f"{self.file}:{self._lines.get(key, self.line)}"

    def wrong(self, key: str, text: str) -> InvalidError:
        """An error about a key."""
        return InvalidError(f"{self.at(key)}: {self._where}{key}: {text}")

    def text(self, key: str, otherwise: str = "") -> str:
        value = self._values.get(key, otherwise)
        assert isinstance(value, str)
        return value

    def number(self, key: str, otherwise: int = 0) -> int:
        value = self._values.get(key, otherwise)
        assert isinstance(value, int)
        return value

    def number_or_none(self, key: str) -> int | None:
        return self.number(key) if key in self else None

    def flag(self, key: str, *, otherwise: bool = False) -> bool:
        value = self._values.get(key, otherwise)
        assert isinstance(value, bool)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key, [])
        assert isinstance(value, list)
        return tuple(str(each) for each in value)

    def section(self, key: str) -> Section:
        """An empty one where the key is not given."""
        value = self._values.get(key)
        if value is None:
            return Section(self.file, f"{self._where}{key}.", self.line)
        assert isinstance(value, Section)
        return value

    def sections(self, key: str) -> list[Section]:
        value = self._values.get(key, [])
        assert isinstance(value, list)
        return [each for each in value if isinstance(each, Section)]


def read(text: str, keys: Keys, *, file: str) -> tuple[Section, list[str]]:
    """The values of a file, and notices about keys that nothing acts on.

    Raises: InvalidError  the first thing that is wrong, with file and line
    """
    if len(text) > SIZE_MAX:
        raise InvalidError(f"{file}: more than {SIZE_MAX} bytes are no configuration")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InvalidError(f"{file}{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidError(f"{file}: this is no YAML: {str(error)[:200]}") from None
    reader = _Reader(file)
    if node is None:
        return Section(file, "", 1), []
    return reader.section(node, keys, ""), reader.notices


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self.notices: list[str] = []

    def section(self, node: yaml.Node, keys: Keys, where: str) -> Section:
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, where.rstrip("."), f"expected keys and values, {_found(node)}")
        section = Section(self._file, where, _line(node))
        for name, value in node.value:
            key = self._known(name, keys, where)
            if key in section:
                first = section.at(key).rpartition(":")[2]
                raise self._wrong(name, where + key, f"given twice, first in line {first}")
            rule = keys[key]
            if _is_null(value):  # `key:` alone: as if it were not there
                continue
            got = self._value(value, rule, where + key)
            if got not in rule.unless:
                self._heed(name, rule, where + key)
            section.put(key, got, _line(name))
        return section

    def _known(self, node: yaml.Node, keys: Keys, where: str) -> str:
        key = node.value if isinstance(node, yaml.ScalarNode) else ""
        if key in keys:
            return str(key)
        place = where.rstrip(".")
        near = difflib.get_close_matches(key, keys, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise self._wrong(node, place, f"unknown key {str(key)[:_SHOWN]!r}{hint}")

    def _heed(self, node: yaml.Node, rule: Key, where: str) -> None:
        if rule.refused:
            raise self._wrong(node, where, f"not supported: {rule.refused}")
        if rule.idle:
            self.notices.append(f"{self._file}:{_line(node)}: {where} is not used: {rule.idle}")

    def _value(self, node: yaml.Node, rule: Key, where: str) -> object:
        match rule.kind:
            case Kind.TEXT:
                return self._text(node, rule, where)
            case Kind.NUMBER:
                return self._number(node, rule, where)
            case Kind.FLAG:
                if _tag(node) != "bool":
                    raise self._not(node, rule, where)
                return str(node.value).lower() in ("true", "yes", "on")
            case Kind.SECTION:
                return self.section(node, rule.inside, where + ".")
            case Kind.SECTIONS:
                return [
                    self.section(each, rule.inside, f"{where}[{index}].")
                    for index, each in enumerate(self._items(node, rule, where))
                ]
            case Kind.NUMBERS:
                each_number = Key(Kind.NUMBER)
                return [
                    self._number(each, each_number, f"{where}[{index}]")
                    for index, each in enumerate(self._items(node, rule, where))
                ]
            case Kind.TEXTS_OR_COMMAS if isinstance(node, yaml.ScalarNode):
                text = self._text(node, rule, where)
                return [part.strip() for part in text.split(",") if part.strip()]
        each_text = Key(Kind.TEXT, choices=rule.choices)
        return [
            self._text(each, each_text, f"{where}[{index}]")
            for index, each in enumerate(self._items(node, rule, where))
        ]

    def _items(self, node: yaml.Node, rule: Key, where: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._not(node, rule, where)
        return list(node.value)

    def _text(self, node: yaml.Node, rule: Key, where: str) -> str:
        if _tag(node) != "str":
            raise self._not(node, rule, where)
        text = str(node.value)
        if rule.choices and text not in rule.choices:
            near = difflib.get_close_matches(text, rule.choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            one_of = ", ".join(rule.choices)
            raise self._wrong(node, where, f"{text[:_SHOWN]!r} is none of {one_of}{hint}")
        return text

    def _number(self, node: yaml.Node, rule: Key, where: str) -> int:
        if _tag(node) != "int":
            raise self._not(node, rule, where)
        try:
            number = int(str(node.value).replace("_", ""), 0)
        except ValueError:
            raise self._not(node, rule, where) from None
        if (rule.lo is not None and number < rule.lo) or (rule.hi is not None and number > rule.hi):
            least = "" if rule.lo is None else f" from {rule.lo}"
            most = "" if rule.hi is None else f" to {rule.hi}"
            raise self._wrong(node, where, f"{number} is no number{least}{most}")
        return number

    def _not(self, node: yaml.Node, rule: Key, where: str) -> InvalidError:
        quote = _tag(node) in ("bool", "int", "float", "timestamp") and "text" in rule.kind.value
        hint = "; put it in quotes" if quote else ""
        return self._wrong(node, where, f"expected {rule.kind.value}, {_found(node)}{hint}")

    def _wrong(self, node: yaml.Node, where: str, text: str) -> InvalidError:
        place = f"{where}: " if where else ""
        return InvalidError(f"{self._file}:{_line(node)}: {place}{text}")


def _found(node: yaml.Node) -> str:
    match node:
        case yaml.MappingNode():
            return "found keys and values"
        case yaml.SequenceNode():
            return "found a list"
    return f"found {str(node.value)[:_SHOWN]!r}"


def _tag(node: yaml.Node) -> str:
    return node.tag.removeprefix(_TAG) if isinstance(node, yaml.ScalarNode) else ""


def _is_null(node: yaml.Node) -> bool:
    return _tag(node) == "null"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
