"""Pages for man: every command is there, and man(7) has nothing to complain of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from daos.cli.frame import Tool, main
from daos.cli.manpage import page
from tests.unit.cli.test_every import EVERY, TOOLS


@pytest.mark.parametrize("tool", TOOLS, ids=[str(tool.name) for tool in TOOLS])
def test_every_command_is_there(tool: Tool) -> None:
    text = page(tool).replace("\\-", "-")
    for owner, path in EVERY:
        if owner is tool:
            assert re.search(rf"^\.SS {tool.name} {' '.join(path)}( |$)", text, re.M)
    assert text.count("\n.TP\n\\fB-j\\fR, \\fB--json\\fR\n") == 1  # of the tool


@pytest.mark.parametrize("tool", TOOLS, ids=[str(tool.name) for tool in TOOLS])
def test_man_reads_it(tool: Tool) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        [groff, "-man", "-ww", "-Tascii", "-P-cbou"],
        input=page(tool),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert f"{tool.name} - " in done.stdout
    assert "EXIT STATUS" in done.stdout


def test_it_is_printed_and_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for tool in TOOLS:
        assert main(tool, ["manpage"]) == 0
        assert capsys.readouterr().out == page(tool)
        assert main(tool, ["--help"]) == 0
        assert "manpage" not in capsys.readouterr().out
    assert main(TOOLS[0], ["manpage", "-j"]) == 0
    assert json.loads(capsys.readouterr().out)["response"]["name"] == "daos"
