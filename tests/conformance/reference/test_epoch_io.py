"""Scripts of updates and fetches at epochs, replayed against an ordinary file.

Each update may take a snapshot; a fetch at transaction n reads through the newest snapshot of n or
before it. What it must find is what the updates up to n, in order of their numbers, leave in a
file. The scripts follow the reference's io_conf files 1 and 2; the grammar is that of their lines:

    oid TYPE                                                     a new object
    iod_size N                                                   bytes of a record
    update --tx N [--snap] [--dkey D] [--akey A] --recx [a,b)... or --single
    fetch  --tx N [--dkey D] [--akey A] --recx [a,b)... or --single

Source: DAOS src/tests/suite/daos_epoch_io.c, io_conf/daos_io_conf_1 and _2; internals §9.19
"""

from __future__ import annotations

import random
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

import daos
from daos import Extents, Range

CONF_1: Final = """
iod_size 32
update --tx 1 --snap --recx "[0, 2)[3, 8)[12, 18)"
update --tx 2 --snap --recx "[1, 3)[5, 10)[12, 14)[100, 108)"
update --tx 3 --snap --recx "[0, 8)[13, 17)[90, 104)"
update --tx 4 --snap --recx "[1, 20)[80, 96)[110, 120)"
fetch --tx 1 --recx "[0, 2)[3, 8)[12, 18)"
fetch --tx 2 --recx "[0, 3)[3, 10)[10, 18)[100, 108)"
fetch --tx 3 --recx "[1, 8)[13, 18)[90, 108)"
fetch --tx 4 --recx "[0, 20)[80, 108)[110, 120)"
fetch --tx 4 --recx "[0, 130)"
fetch --tx 2 --recx "[0, 130)"
update --tx 1 --snap --akey single --single
update --tx 4 --snap --akey single --single
fetch --tx 2 --akey single --single
fetch --tx 4 --akey single --single
"""

CONF_2: Final = """
iod_size 3
update --tx 1 --snap --recx "[0, 1000)"
fetch --tx 1 --recx "[0, 1000)"
update --tx 2 --snap --recx "[2, 500)[510, 990)"
fetch --tx 2 --recx "[0, 1000)"
update --tx 3 --snap --recx "[20, 30)[40, 300)[320, 900)[905, 910)[950, 1100)"
fetch --tx 3 --recx "[0, 1100)"
update --tx 4 --snap --recx "[10, 510)[520, 990)[1050, 1060)[1200, 2000)"
update --tx 4 --snap --dkey second --akey other --recx "[50, 60)[90, 100)"
fetch --tx 4 --recx "[0, 2000)"
fetch --tx 4 --dkey second --akey other --recx "[0, 120)"
update --tx 9 --snap --recx "[0, 2000)"
update --tx 100 --snap --recx "[1, 300)[1500, 1510)"
update --tx 100 --snap --dkey second --akey other --recx "[55, 95)"
update --tx 200 --snap --recx "[0, 10)[250, 260)[1999, 2100)"
fetch --tx 1 --recx "[0, 2100)"
fetch --tx 2 --recx "[0, 2100)"
fetch --tx 3 --recx "[0, 2100)"
fetch --tx 4 --recx "[0, 2100)"
fetch --tx 10 --recx "[0, 2100)"
fetch --tx 110 --recx "[0, 2100)"
fetch --tx 110 --dkey second --akey other --recx "[0, 120)"
fetch --tx 150 --recx "[0, 2100)"
fetch --tx 250 --recx "[0, 2100)"
"""

_RANGE: Final = re.compile(r"\[\s*(\d+)\s*,\s*(\d+)\s*\)")
Ranges = list[tuple[int, int]]


class Script:
    """One object, the snapshots of its script, and a file for each akey."""

    def __init__(self, cont: daos.Container, directory: Path, otype: str) -> None:
        self.cont = cont
        self.obj = cont.object(cont.new_oid(otype, oclass="SX"))
        self.directory = directory
        self.iod_size = 1
        # By akey: another akey's update of the same number is another moment.
        self.snapshots: dict[tuple[str, str], dict[int, int]] = {}
        self.done: dict[tuple[str, str], list[tuple[int, Ranges, bytes]]] = {}
        self.rng = random.Random(7)

    def run(self, text: str) -> int:
        """Execute all lines; how many fetches were compared."""
        compared = 0
        for line in text.split("\n"):
            words = shlex.split(line)
            if not words:
                continue
            if words[0] == "iod_size":
                self.iod_size = int(words[1])
            elif words[0] == "update":
                self.update(*self.parse(words[1:]))
            else:
                self.fetch(*self.parse(words[1:]))
                compared += 1
        return compared

    def parse(self, words: list[str]) -> tuple[int, tuple[str, str], Ranges, set[str]]:
        tx, names, flags = 0, {"--dkey": "dkey", "--akey": "akey"}, set[str]()
        ranges: Ranges = []
        rest = iter(words)
        for word in rest:
            if word == "--tx":
                tx = int(next(rest))
            elif word in names:
                names[word] = next(rest)
            elif word == "--recx":
                ranges = [(int(lo), int(hi)) for lo, hi in _RANGE.findall(next(rest))]
            else:
                flags.add(word)
        return tx, (names["--dkey"], names["--akey"]), ranges, flags

    def update(self, tx: int, names: tuple[str, str], ranges: Ranges, flags: set[str]) -> None:
        single = "--single" in flags
        records = 1 if single else sum(hi - lo for lo, hi in ranges)
        data = self.rng.randbytes(records * self.iod_size)
        self.done.setdefault(names, []).append((tx, ranges, data))
        dkey, akey = names[0].encode(), names[1].encode()
        if single:
            self.obj.update(dkey, akey, data)
        else:
            pieces, at = [], 0
            for lo, hi in ranges:
                size = (hi - lo) * self.iod_size
                pieces.append((lo, data[at : at + size]))
                at += size
            self.obj.update_many(dkey, {akey: Extents(self.iod_size, pieces)})
        if "--snap" in flags:
            self.snapshots.setdefault(names, {})[tx] = self.cont.snapshot()

    def replay(self, tx: int, names: tuple[str, str], *, single: bool) -> bytes:
        """What the updates up to `tx` leave in a file."""
        path = self.directory / "-".join(names)
        path.write_bytes(b"")
        with path.open("r+b") as file:
            for at, ranges, data in sorted(self.done[names], key=lambda done: done[0]):
                if at > tx:
                    break
                if single:
                    file.truncate(0)
                    file.seek(0)
                    file.write(data)
                    continue
                for lo, hi in ranges:
                    file.seek(lo * self.iod_size)
                    size = (hi - lo) * self.iod_size
                    file.write(data[:size])
                    data = data[size:]
        return path.read_bytes()

    def fetch(self, tx: int, names: tuple[str, str], ranges: Ranges, flags: set[str]) -> None:
        taken = self.snapshots[names]
        newest = max(number for number in taken if number <= tx)
        obj = self.cont.at(taken[newest]).object(self.obj.oid)
        dkey, akey = names[0].encode(), names[1].encode()
        want = self.replay(tx, names, single="--single" in flags)
        if "--single" in flags:
            assert obj.fetch(dkey, akey) == want, f"single value at {tx}"
            assert obj.size(dkey, akey) == len(want)
            return
        size = self.iod_size
        assert obj.size(dkey, akey) == size
        got = obj.fetch_many(dkey, [Range(akey, lo, hi - lo) for lo, hi in ranges])
        for (lo, hi), found in zip(ranges, got, strict=True):
            expected = want[lo * size : hi * size].ljust((hi - lo) * size, b"\0")
            assert (found or bytes((hi - lo) * size)) == expected, f"records [{lo}, {hi}) at {tx}"


@pytest.mark.parametrize("otype", ["MULTI_HASHED", "MULTI_LEXICAL"])
@pytest.mark.parametrize(("conf", "fetches"), [(CONF_1, 8), (CONF_2, 14)], ids=["1", "2"])
def test_epoch_io1(
    cont: daos.Container, tmp_path: Path, conf: str, fetches: int, otype: str
) -> None:
    assert Script(cont, tmp_path, otype).run(conf) == fetches
