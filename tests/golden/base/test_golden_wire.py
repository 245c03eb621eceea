"""Bytes of the values of `base` that messages and records carry, and of checksums and epochs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from daos.base.checksum import ChecksumType, compute
from daos.base.hlc import epoch_from_unix_ns, unix_ns_from_epoch
from daos.base.ids import Epoch, ObjectId
from daos.base.iod import Iod, IodType, Recx

HERE = Path(__file__).parent
VALUES: dict[str, Recx | Iod | ObjectId] = {
    "recx": Recx(1, 2),
    "recx to the end": Recx(0, 2**64 - 1),
    "iod single": Iod(b"a", IodType.SINGLE, 5),
    "iod array": Iod(b"0", IodType.ARRAY, 1, (Recx(0, 4096), Recx(70000, 1)), 0x10),
    "oid": ObjectId(1, 2),
    "oid with class": ObjectId(0x0D01_0001_0000_0007, 9),
}


def rows(name: str) -> list[list[str]]:
    lines = (HERE / name).read_text().splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize(("name", "data"), rows("wire.tsv"))
def test_values_on_the_wire(name: str, data: str) -> None:
    value, encoded = VALUES[name], bytes.fromhex(data)
    assert msgspec.msgpack.encode(value) == encoded
    assert msgspec.msgpack.decode(encoded, type=type(value)) == value


@pytest.mark.parametrize(("kind", "data", "want"), rows("checksum.tsv"))
def test_checksums(kind: str, data: str, want: str) -> None:
    assert compute(ChecksumType[kind], bytes.fromhex(data)).hex() == want


@pytest.mark.parametrize(("unix_ns", "epoch"), rows("epoch.tsv"))
def test_epochs(unix_ns: str, epoch: str) -> None:
    assert epoch_from_unix_ns(int(unix_ns)) == int(epoch, 16)
    assert unix_ns_from_epoch(Epoch(int(epoch, 16))) == int(unix_ns)
