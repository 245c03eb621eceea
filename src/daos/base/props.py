"""System-defined properties: a table per kind of entity, values in the text form users meet.

A `Table` knows each property's name, aliases, description, default and which values it takes;
what a property *does* is the business of the code that reads it. Values are kept as canonical
text, so that what is stored is what is shown.
Source: DAOS src/include/daos_prop.h, src/control/lib/daos/{pool,container}_property.go.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from daos.base.errors import AccessError, InvalidError, NotSupportedError


class Settable(Enum):
    """When a user may choose the value."""

    ANY_TIME = "at creation and later"
    CREATION = "at creation only"
    NEVER = "never: the system sets it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One row. `parse` turns user text into canonical text or raises InvalidError.

    An empty default means that the value is computed at creation or inherited.
    """

    name: str
    description: str
    default: str
    parse: Callable[[str], str]
    settable: Settable = Settable.ANY_TIME
    aliases: tuple[str, ...] = ()
    # False: nothing acts on the property yet. Then only its default is taken, so that nobody
    # relies on what does not happen.
    built: bool = True


class Table:
    """The properties of pools, or of containers."""

    def __init__(self, what: str, properties: tuple[Property, ...]) -> None:
        self._what = what
        self.properties = properties
        self._by_name = {
            name: entry for entry in properties for name in (entry.name, *entry.aliases)
        }

    def find(self, name: str) -> Property:
        """The row of `name` or alias. Raises: InvalidError, naming the nearest."""
        entry = self._by_name.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, self._by_name, n=1)
            known = ", ".join(each.name for each in self.properties)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {known}"
            raise InvalidError(f"{self._what} has no property {name!r}; {hint}")
        return entry

    def at_creation(self, given: Mapping[str, str]) -> dict[str, str]:
        """Every property's value for a new entity: what is given, else the default.

        Raises: InvalidError (unknown, twice under two names, bad value); AccessError (not for
        users to set); NotSupportedError (a value that nothing acts on yet)
        """
        values = {entry.name: entry.default for entry in self.properties}
        values.update(self._parse(given, allowed=(Settable.ANY_TIME, Settable.CREATION)))
        return values

    def changes(self, given: Mapping[str, str]) -> dict[str, str]:
        """Canonical values for a later change.

        Raises: InvalidError; AccessError (the property is fixed after creation)
        """
        return self._parse(given, allowed=(Settable.ANY_TIME,))

    def _parse(self, given: Mapping[str, str], *, allowed: tuple[Settable, ...]) -> dict[str, str]:
        values: dict[str, str] = {}
        for name, text in given.items():
            entry = self.find(name)
            if entry.name in values:
                raise InvalidError(f"property {entry.name!r} is given twice")
            if entry.settable not in allowed:
                raise AccessError(
                    f"{self._what} property {entry.name!r} can be set {entry.settable.value}"
                )
            if not isinstance(text, str):
                raise InvalidError(f"property {name!r} takes text, not {type(text).__name__}")
            values[entry.name] = value = entry.parse(text)
            if not entry.built and value != entry.default:
                raise NotSupportedError(
                    f"{self._what} property {entry.name!r}: this version acts on "
                    f"{entry.default!r} only, not on {value!r}"
                )
        return values


def fixed(name: str, description: str, default: str) -> Property:
    """A property that the system sets, and users only see."""
    return Property(
        name=name,
        description=description,
        default=default,
        parse=str,
        settable=Settable.NEVER,
    )


def one_of(name: str, *choices: str) -> Callable[[str], str]:
    """Accepts exactly these words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise InvalidError(f"{name} must be one of {', '.join(choices)}; got {text!r}")
        return text.lower()

    return parse


def integer(name: str, *, lo: int, hi: int) -> Callable[[str], str]:
    """Accepts a decimal number in [lo, hi]."""

    def parse(text: str) -> str:
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            raise InvalidError(f"{name} must be a number from {lo} to {hi}; got {text[:32]!r}")
        value = int(text)
        if not lo <= value <= hi:
            raise InvalidError(f"{name} must be from {lo} to {hi}; got {value}")
        return str(value)

    return parse
