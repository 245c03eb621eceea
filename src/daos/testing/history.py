"""What happened in a simulated run, in one order: calls of clients, faults, what hosts did.

Positions in the list are the real time of the run: a call that returned before another one began
has a smaller `end` than the other's `begin`. The digest of a history tells whether two runs were
the same; the story of a key is what a person wants to read when something went wrong with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

STORY_LINES: Final = 60
_NETWORK: Final = ("connected", "lost connection")


@dataclass(slots=True, eq=False)
class Record:
    """A call of a client, from its begin to its end."""

    client: str
    key: tuple[object, ...]  # what it touches: (object, dkey …)
    kind: str
    argument: object
    begin: int
    end: int = -1  # -1: it never came back
    answer: object = None
    unknown: bool = True
    epoch: int = 0  # of what it changed, where it says so

    def __str__(self) -> str:
        return f"{self.client} {self.kind} {_short(self.argument)} of {_short(self.key)}"


@dataclass(frozen=True, slots=True)
class Line:
    """One entry: when, who, what, and the key that it is about (() for everybody)."""

    seconds: float
    who: str
    what: str
    key: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.seconds:12.6f}  {self.who:10}  {self.what}"


class History:
    """Everything of one run; `now` gives its virtual time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.lines: list[Line] = []
        self.calls: list[Record] = []
        self._now = now
        self._digest = hashlib.blake2b(digest_size=16)

    def note(self, who: str, what: str, key: tuple[object, ...] = ()) -> int:
        """Add a line; its position."""
        line = Line(self._now(), who, what, key)
        self.lines.append(line)
        self._digest.update(f"{line}\n".encode())
        return len(self.lines)

    def note_host(self, host: str, what: str) -> None:
        """Add a line about a host."""
        self.note(host, what)

    def begin(self, client: str, key: tuple[object, ...], kind: str, argument: object) -> Record:
        """A call begins."""
        record = Record(client, key, kind, argument, 0)
        record.begin = self.note(client, f"{kind} {_short(argument)} of {_short(key)}", key)
        self.calls.append(record)
        return record

    def end(self, record: Record, answer: object, *, unknown: bool = False, epoch: int = 0) -> None:
        """A call has its answer, or comes back without one that says what happened."""
        record.answer, record.unknown, record.epoch = answer, unknown, epoch
        told = f"{record.kind} of {_short(record.key)} -> {_short(answer)}"
        if epoch:
            told += f" at {epoch:#x}"
        if unknown:
            told += " (outcome unknown)"
        record.end = self.note(record.client, told, record.key)

    def digest(self) -> str:
        """Of all lines so far."""
        return self._digest.copy().hexdigest()

    def story(self, key: tuple[object, ...]) -> str:
        """The last lines about this key, and what happened to hosts in between."""
        ours = [index for index, line in enumerate(self.lines) if key and line.key == key]
        first = ours[-STORY_LINES:][0] if ours else max(0, len(self.lines) - STORY_LINES)
        wanted = [
            line
            for line in self.lines[first:]
            if line.key == key or (not line.key and not line.what.startswith(_NETWORK))
        ]
        return "\n".join(map(str, wanted))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
