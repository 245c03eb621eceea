"""Sets of small numbers as people write them: ranks, target indices.

    "0,2-4,[7-9]"   read: numbers, ranges that include both ends, brackets anywhere around them
    "0,2-4,7-9"     written, ascending; bracketed where more than one part: "[0,2-4,7-9]"

Source: DAOS src/control/lib/ranklist; features "Conventions shared by all tools"
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from daos.base.errors import InvalidError
from daos.base.ids import U32_MAX

_TEXT_MAX: Final = 4096
# A range like 0-4294967295 is a mistake, and would take the memory of the machine.
_NUMBERS_MAX: Final = 1 << 16
_PART: Final = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", re.ASCII)


def parse_ranges(text: str, what: str) -> tuple[int, ...]:
    """The numbers of `text`, ascending, each once; none where it is empty.

    Raises: InvalidError  no such set; a range that runs backwards; a number beyond a u32
    """
    bare = "".join(text.split())
    if len(text) > _TEXT_MAX:
        raise InvalidError(f"{what}: a set of numbers in at most {_TEXT_MAX} characters expected")
    if not _balanced(bare):
        raise InvalidError(f"{what} {text!r}: brackets do not match")
    bare = bare.replace("[", "").replace("]", "")
    numbers = set[int]()
    for part in bare.split(",") if bare else ():
        match = _PART.fullmatch(part)
        if match is None:
            raise InvalidError(f"{what} {text!r}: expected numbers and ranges, like 0,2-4")
        lo = int(match[1])
        hi = int(match[2]) if match[2] is not None else lo
        if hi < lo or hi > U32_MAX:
            raise InvalidError(f"{what} {text!r}: {part} is no range of numbers below 2**32")
        if hi - lo + len(numbers) >= _NUMBERS_MAX:
            raise InvalidError(f"{what} {text!r}: at most {_NUMBERS_MAX} numbers are taken")
        numbers.update(range(lo, hi + 1))
    return tuple(sorted(numbers))


def format_ranges(numbers: Iterable[int]) -> str:
    """`0-3,7`; empty for none."""
    return ",".join(_parts(numbers))


def format_bracketed(numbers: Iterable[int]) -> str:
    """`[0-3,7]`, but `7` where it is one number alone."""
    ordered = sorted(set(numbers))
    text = format_ranges(ordered)
    return text if len(ordered) < 2 else f"[{text}]"


def _parts(numbers: Iterable[int]) -> list[str]:
    parts: list[str] = []
    ordered = sorted(set(numbers))
    while ordered:
        lo = hi = ordered.pop(0)
        while ordered and ordered[0] == hi + 1:
            hi = ordered.pop(0)
        parts.append(f"{lo}" if lo == hi else f"{lo}-{hi}")
    return parts


def _balanced(text: str) -> bool:
    inside = False
    for letter in text:
        if letter in "[]":
            if inside == (letter == "["):
                return False
            inside = letter == "["
    return not inside
