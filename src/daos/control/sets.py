"""Sets of ranks as people write them, and as they are printed.

    "0-3,7"  "[0-3,7]"  "0,2-4,[7-9]"   <->   (0, 1, 2, 3, 7)

Source: DAOS src/control/lib/ranklist, lib/hostlist
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from daos.base.errors import InvalidError

RANK_MAX: Final = (1 << 32) - 2
# Nobody has more; it bounds what a typing error can ask for.
_RANKS: Final = 1 << 20
_PART: Final = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


def parse_ranks(text: str) -> tuple[int, ...]:
    """The ranks of a set, in order, each once; "" has none.

    Raises: InvalidError  no set of ranks; too many
    """
    ranks = set[int]()
    bare = text.replace("[", "").replace("]", "").strip()
    for part in bare.split(",") if bare else ():
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise InvalidError(f"rank set {text[:64]!r}: {part[:32]!r} is no rank and no range")
        lo = int(match[1])
        hi = int(match[2] or lo)
        if lo > hi or hi > RANK_MAX:
            raise InvalidError(f"rank set {text[:64]!r}: {part[:32]!r} is no range of ranks")
        if hi - lo >= _RANKS:
            raise InvalidError(f"rank set {text[:64]!r}: more than {_RANKS} ranks")
        ranks.update(range(lo, hi + 1))
    return tuple(sorted(ranks))


def print_ranks(ranks: Iterable[int]) -> str:
    """The comma and range form, without brackets: "0-3,7"."""
    runs = list[list[int]]()
    for rank in sorted(set(ranks)):
        if runs and runs[-1][1] == rank - 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    return ",".join(str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in runs)
