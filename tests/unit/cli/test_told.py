"""How errors look, as text and as JSON."""

from __future__ import annotations

import json

import pytest

from daos.base.errors import DER, DaosError, InvalidError, NotFoundError
from daos.cli import told
from daos.control import faults


@pytest.mark.parametrize(
    ("error", "lines", "status"),
    [
        (NotFoundError("no pool"), ["DER_NONEXIST(-1005): no pool"], -1005),
        (InvalidError("s.yml:1: wrong"), ["s.yml:1: wrong"], -1003),
        (DaosError("no server runs"), ["no server runs"], -1025),
        (
            faults.wrong_system("a", "b"),
            [
                'server: code = 603 description = "request system does not match running system '
                '(a != b)"',
                'server: code = 603 resolution = "retry the request with the correct system name"',
            ],
            -1003,
        ),
        (DaosError("gone", code=DER.UNREACH), ["DER_UNREACH(-1006): gone"], -1006),
    ],
)
def test_errors(
    error: DaosError, lines: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    told.show("dmg", error, as_json=False)
    assert capsys.readouterr().err.splitlines() == [f"ERROR: dmg: {line}" for line in lines]
    told.show("dmg", error, as_json=True)
    envelope = json.loads(capsys.readouterr().out)
    assert envelope == {"response": None, "error": lines[0], "status": status}


def test_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    told.envelope({"pid": 5})
    assert capsys.readouterr().out == (
        '{\n  "response": {\n    "pid": 5\n  },\n  "error": null,\n  "status": 0\n}\n'
    )
