"""Sizes and percentages, as people type and read them.

    "4g"  "4 GB"  "1.5T"      decimal: k K kB KB = 1000, then M G T P E
    "64KiB"  "64Ki"           binary: 1024, then Mi Gi Ti Pi Ei
    "4096"  "4096 B"  4096    bytes

Case does not matter, one unit may follow the number, spaces may surround either; commas between
digits are ignored. Where a tool counts in binary throughout (chunk sizes of files), the caller says
`binary=True`, and "1m" is 1 MiB.

The arithmetic is exact: integers, no floats. A scaled size is rounded down to whole bytes
("1.1TiB"); what is no byte at all ("0.5", "1.5 B", "0.0001K") is refused rather than rounded.

Source: github.com/dustin/go-humanize bytes.go, which the reference's tools use; ours: refusals
"""

from __future__ import annotations

import re
from typing import Final

from daos.base.errors import InvalidError
from daos.base.ids import U64_MAX

_TEXT_SIZE_MAX: Final = 64
_SIZE: Final = re.compile(r"\s*([0-9][0-9,]*)(?:\.([0-9]*))?\s*([a-z]*)\s*", re.ASCII)
_PERCENT: Final = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%?\s*", re.ASCII)
_PREFIXES: Final = "kmgtpe"


def _unit_bytes(unit: str, *, binary: bool) -> int | None:
    """Bytes of a lower-case unit, or None if there is no such unit."""
    if unit in ("", "b"):
        return 1
    step = 1024 if binary or unit[1:2] == "i" else 1000
    power = _PREFIXES.find(unit[0]) + 1
    if power == 0 or unit[1:] not in ("", "b", "i", "ib"):
        return None
    nbytes: int = step**power
    return nbytes


def parse_size(size: int | str, *, binary: bool = False) -> int:
    """Bytes of a size that a person typed, in [0, 2**64). A number is bytes already.

    Raises:     InvalidError   negative, junk, NaN or infinity, an unknown unit, a fraction of a
                               byte, 2**64 or more
    """
    if isinstance(size, int) and not isinstance(size, bool):
        nbytes = size
    elif isinstance(size, str):
        nbytes = _parse_text(size, binary=binary)
    else:
        raise InvalidError(f"size {size!r}: expected an int or a text like '1GiB'")
    if nbytes < 0:
        raise InvalidError(f"size {size}: must not be negative")
    if nbytes > U64_MAX:
        raise InvalidError(f"size {size}: must be below 2**64 bytes")
    return nbytes


def _parse_text(text: str, *, binary: bool) -> int:
    shown = repr(text[:_TEXT_SIZE_MAX])
    if text.lstrip().startswith("-"):
        raise InvalidError(f"size {shown}: must not be negative")
    match = _SIZE.fullmatch(text.lower()) if len(text) <= _TEXT_SIZE_MAX else None
    if match is None:
        raise InvalidError(f"size {shown}: expected a number and a unit, like '512MB' or '1.5TiB'")
    whole, fraction, unit = match[1].replace(",", ""), match[2] or "", match[3]
    scale = _unit_bytes(unit, binary=binary)
    if scale is None:
        raise InvalidError(
            f"size {shown}: unknown unit {unit!r}; expected B, KB, MB, GB, TB, PB, EB or KiB, MiB, "
            "GiB, TiB, PiB, EiB"
        )
    divisor: int = 10 ** len(fraction)
    nbytes, rest = divmod(int(whole + fraction) * scale, divisor)
    if rest and (scale == 1 or nbytes == 0):
        raise InvalidError(f"size {shown}: bytes come whole")
    return nbytes


def format_size(nbytes: int) -> str:
    """Decimal and short, as tools print it: `0 B`, `1.6 GB`, `50 GB`.

    Raises:     InvalidError   negative
    """
    return _format(nbytes, 1000, ("B", "kB", "MB", "GB", "TB", "PB", "EB"))


def format_size_binary(nbytes: int) -> str:
    """Binary and short: `64 KiB`, `1.5 TiB`. Raises: InvalidError if negative."""
    return _format(nbytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))


def _format(nbytes: int, step: int, units: tuple[str, ...]) -> str:
    if nbytes < 0:
        raise InvalidError(f"size {nbytes}: must not be negative")
    power = 0
    while power + 1 < len(units) and nbytes >= step ** (power + 1):
        power += 1
    if power == 0:
        return f"{nbytes} B"
    scale: int = step**power
    tenths = (nbytes * 20 + scale) // (scale * 2)  # rounded half up
    if tenths < 100:
        return f"{tenths // 10}.{tenths % 10} {units[power]}"
    return f"{(nbytes * 2 + scale) // (scale * 2)} {units[power]}"


def parse_percent(percent: float | str) -> float:
    """A share in [0, 100], from `"5%"`, `"5"` or a number.

    Raises:     InvalidError   junk, NaN, negative, above 100
    """
    if isinstance(percent, bool) or not isinstance(percent, int | float | str):
        raise InvalidError(f"percentage {percent!r}: expected a number or a text like '5%'")
    if isinstance(percent, str):
        match = _PERCENT.fullmatch(percent) if len(percent) <= _TEXT_SIZE_MAX else None
        if match is None:
            raise InvalidError(f"percentage {percent[:_TEXT_SIZE_MAX]!r}: expected 0 to 100, '5%'")
        percent = float(match[1])
    if not 0 <= percent <= 100:  # refuses NaN too
        raise InvalidError(f"percentage {percent}: must be from 0 to 100")
    return float(percent)


def format_percent(percent: float) -> str:
    """Without decimals that say nothing: `5%`, `12.5%`; at most two."""
    return f"{percent:.2f}".rstrip("0").rstrip(".") + "%"
