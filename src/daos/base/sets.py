"""Sets of ranks and of hosts, as people write them; ranks as they are printed, too.

    "0-3,7"  "[0-3,7]"  "0,2-4,[7-9]"   <->   (0, 1, 2, 3, 7)
    "h[1-2,05].lan:9 h1 h1"             ->   ("h1.lan:9", "h2.lan:9", "h05.lan:9", "h1")

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


_HOSTS_MAX: Final = 1 << 16
_HOST: Final = re.compile(r"([^\[\]]*)(?:\[([^\[\]]*)\])?([^\[\]]*)")
# Between hosts, but not between the numbers of one.
_BETWEEN: Final = re.compile(r"[,\s]+(?![^\[\]]*\])")


def parse_hosts(text: str) -> tuple[str, ...]:
    """The hosts of a set, each once, in the order that they are named.

    Raises: InvalidError  no set of hosts; too many
    """
    hosts = dict[str, None]()
    for part in filter(None, _BETWEEN.split(text)):
        match = _HOST.fullmatch(part)
        if match is None:
            raise InvalidError(f"host set {text[:64]!r}: brackets that do not match")
        head, numbers, tail = match.groups()
        if not head and (numbers is None or not tail):
            raise InvalidError(f"host set {text[:64]!r}: {part[:32]!r} is no host")
        each = [""] if numbers is None else _numbers(numbers, text)
        hosts.update(dict.fromkeys(f"{head}{number}{tail}" for number in each))
        if len(hosts) > _HOSTS_MAX:
            raise InvalidError(f"host set {text[:64]!r}: more than {_HOSTS_MAX} hosts")
    return tuple(hosts)


def _numbers(text: str, whole: str) -> list[str]:
    """What stands between brackets, each number with its leading zeros."""
    numbers = list[str]()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise InvalidError(f"host set {whole[:64]!r}: {part[:32]!r} is no number and no range")
        lo, hi = match[1], match[2] or match[1]
        padded = lo.startswith("0") and len(lo) > 1
        if int(lo) > int(hi) or (padded and len(lo) != len(hi)):
            raise InvalidError(f"host set {whole[:64]!r}: {part[:32]!r} is no range")
        if int(hi) - int(lo) >= _HOSTS_MAX:
            raise InvalidError(f"host set {whole[:64]!r}: more than {_HOSTS_MAX} hosts")
        width = len(lo) if padded else 0
        numbers += [f"{number:0{width}}" for number in range(int(lo), int(hi) + 1)]
    return numbers


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
