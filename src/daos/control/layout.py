"""Files of a server: the superblock of an engine, what the server knows of the system, and what the
agent knows of its host.

Text, a YAML mapping, with `version` first and `checksum` last: xxh3 over all bytes before it, in
hexadecimal. Each is written whole and put in place of the old one. Pages: docs/format/server.md.

Source: DAOS src/control/server/instance_superblock.go (superblock; the checksum is ours); system:
        ours, there a replicated database keeps it; handles: ours, there the agent forgets them
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

import yaml

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError

VERSION: Final = 1
SIZE_MAX: Final = 1 << 20
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HANDLE: Final = re.compile(rf"(\d{{1,10}}) (-?\d{{1,20}}) ({_UUID.pattern})")
_TAIL: Final = re.compile(rb"checksum: ([0-9a-f]{16})\n\Z")


@dataclass(frozen=True, slots=True)
class Superblock:
    """What an engine is, for life: written when storage is formatted; the rank when it joins."""

    uuid: UUID
    system: str
    targets: int
    rank: int | None = None
    uri: str = ""
    fault_domain: str = "/"
    incarnation: int = 0

    def emit(self) -> bytes:
        """The file."""
        return _emit(
            {
                "uuid": str(self.uuid),
                "system": self.system,
                "targets": self.targets,
                "rank": self.rank,
                "uri": self.uri,
                "validrank": self.rank is not None,
                "hostfaultdomain": self.fault_domain,
                "incarnation": self.incarnation,
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> Superblock:
        """Raises: CorruptError"""
        fields = _Fields("superblock", raw)
        rank = fields.number_or_none("rank")
        block = cls(
            fields.uuid("uuid"),
            fields.text("system"),
            fields.number("targets"),
            rank,
            fields.text("uri"),
            fields.text("hostfaultdomain"),
            fields.number("incarnation"),
        )
        fields.equals("validrank", rank is not None)
        fields.end()
        return block


@dataclass(frozen=True, slots=True)
class SystemRecord:
    """What the server keeps: the version of the map of ranks, and settings."""

    name: str
    map_version: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)

    def emit(self) -> bytes:
        """The file."""
        return _emit(
            {
                "name": self.name,
                "map_version": self.map_version,
                "attributes": dict(sorted(self.attributes.items())),
                "properties": dict(sorted(self.properties.items())),
            }
        )

    @classmethod
    def parse(cls, raw: bytes) -> SystemRecord:
        """Raises: CorruptError"""
        fields = _Fields("system record", raw)
        record = cls(
            fields.text("name"),
            fields.number("map_version"),
            fields.texts("attributes"),
            fields.texts("properties"),
        )
        fields.end()
        return record


class OpenHandle(NamedTuple):
    """A pool handle of a process, which is known by its pid and when it was started. UUIDs."""

    pid: int
    born: int
    pool: str


@dataclass(frozen=True, slots=True)
class HandleRecord:
    """What an agent would forget by dying: open pool handles of its host's processes.

    `boot`: the boot id of the host; after the next boot all of those processes have gone.
    """

    boot: str
    handles: Mapping[str, OpenHandle] = field(default_factory=dict)

    def emit(self) -> bytes:
        """The file."""
        # Written at each connect and disconnect: PyYAML would take 0.1 ms a handle.
        lines = [
            f"version: {VERSION}\n",
            f"boot: {self.boot}\n",
            "handles:\n" if self.handles else "handles: {}\n",
            *(
                f"  {handle}: {each.pid} {each.born} {each.pool}\n"
                for handle, each in self.handles.items()
            ),
        ]
        return _sealed("".join(lines).encode())

    @classmethod
    def parse(cls, raw: bytes) -> HandleRecord:
        """Raises: CorruptError"""
        fields = _Fields("handle record", raw)
        boot, handles = str(fields.uuid("boot")), dict[str, OpenHandle]()
        for handle, text in fields.texts("handles").items():
            match = _HANDLE.fullmatch(text)
            if match is None or not _UUID.fullmatch(handle):
                want, got = "handle: pid, start time, pool", f"{handle[:40]}: {text[:64]}"
                raise CorruptError("handle record", offset=0, want=want, got=got)
            handles[handle] = OpenHandle(int(match[1]), int(match[2]), match[3])
        fields.end()
        return cls(boot, handles)


def _emit(fields: Mapping[str, object]) -> bytes:
    body = yaml.safe_dump({"version": VERSION, **fields}, sort_keys=False, width=1 << 20).encode()
    return _sealed(body)


def _sealed(body: bytes) -> bytes:
    return body + f"checksum: {xxh3(body):016x}\n".encode()


class _Fields:
    """The fields of a file, each taken once and checked; `end` wants all to be taken."""

    def __init__(self, what: str, raw: bytes) -> None:
        self._what = what
        if len(raw) > SIZE_MAX:
            raise CorruptError(what, offset=0, want=f"at most {SIZE_MAX} bytes", got=len(raw))
        tail = _TAIL.search(raw)
        if tail is None:
            raise CorruptError(what, offset=len(raw), want="a checksum", got="none")
        body = raw[: tail.start()]
        want, got = int(tail[1], 16), xxh3(body)
        if want != got:
            raise CorruptError(what, offset=tail.start(), want=want, got=got)
        try:
            fields = yaml.safe_load(body)
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
            raise CorruptError(what, offset=0, want="YAML", got="something else") from None
        if not isinstance(fields, dict):
            raise CorruptError(what, offset=0, want="a mapping", got=type(fields).__name__)
        self._fields: dict[object, object] = fields
        self.equals("version", VERSION)

    def equals(self, key: str, value: object) -> None:
        if (got := self._take(key)) != value:
            raise self._wrong(key, value, got)

    def text(self, key: str) -> str:
        if not isinstance(value := self._take(key), str):
            raise self._wrong(key, "text", value)
        return value

    def number(self, key: str) -> int:
        number = self.number_or_none(key)
        if number is None:
            raise self._wrong(key, "a number", None)
        return number

    def number_or_none(self, key: str) -> int | None:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
            raise self._wrong(key, "a number", value)
        return value

    def uuid(self, key: str) -> UUID:
        text = self.text(key)
        try:
            uuid = UUID(text)
        except ValueError:
            raise self._wrong(key, "a UUID", text) from None
        if str(uuid) != text:
            raise self._wrong(key, "a UUID", text)
        return uuid

    def texts(self, key: str) -> dict[str, str]:
        value = self._take(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "a mapping", value)
        texts = dict[str, str]()
        for name, text in value.items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise self._wrong(key, "texts", name)
            texts[name] = text
        return texts

    def end(self) -> None:
        if self._fields:
            raise self._wrong(str(next(iter(self._fields))), "no such field", "one")

    def _take(self, key: str) -> object:
        return self._fields.pop(key, None)

    def _wrong(self, key: str, want: object, got: object) -> CorruptError:
        return CorruptError(f"{self._what}, field {key[:64]}", offset=0, want=want, got=got)
