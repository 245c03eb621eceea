"""Command lines in general: where options may stand, envelopes, errors, lazy groups."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from daos.base.errors import InvalidError, NotFoundError
from daos.cli.frame import Answer, Command, Entry, Group, Options, Tool, command, main, names, pairs

things = Group("thing", help="Things.")


@command(things, "show")
@click.argument("name")
@click.option("-v", "--verbose", is_flag=True)
@click.pass_obj
def show(options: Options, name: str, verbose: bool) -> Answer:
    """Show a thing. It is not changed."""
    if name == "none":
        raise NotFoundError("thing 'none' not found")
    if name == "half":
        return Answer("half of it\n", {"half": True}, failed=True)
    if name == "some":
        return Answer("a\n", ["a"], problems=("b: gone", "c: lost"))
    return Answer(
        f"{name} {verbose} {options.get('sys')}", {"name": name, "sys": options.get("sys")}
    )


def tool() -> Tool:
    return Tool(
        "tool",
        options=[click.Option(["-G", "--sys"], help="The system.")],
        entries={
            "thing": Entry(f"{__name__}:things", "Work with things.", aliases=("th",)),
            "other": Entry("no_such_module_at_all:group", "Not to be loaded."),
            "secret": Entry("no_such_module_at_all:group", "Hidden.", hidden=True),
        },
        help="A tool.",
    )


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[show.callback.__module__])  # type: ignore[union-attr]

    def runner(*arguments: str) -> tuple[int, str, str]:
        status = main(tool(), arguments)
        out, err = capsys.readouterr()
        return status, out, err

    return runner


def test_text(run: Run) -> None:
    assert run("thing", "show", "box") == (0, "box False None\n", "")
    assert run("th", "show", "box", "-v") == (0, "box True None\n", "")


def test_names_that_are_no_utf_8(run: Run) -> None:
    assert run("thing", "show", "bü\udcff") == (0, "bü\\udcff False None\n", "")


@pytest.mark.parametrize(
    "line",
    [
        "-j -G mine thing show box",
        "thing -j show box --sys=mine",
        "thing show box -G mine --json",
        "--sys mine thing show -j box",
    ],
)
def test_options_stand_anywhere(run: Run, line: str) -> None:
    status, out, err = run(*line.split())
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "response": {"name": "box", "sys": "mine"},
        "error": None,
        "status": 0,
    }
    assert out.startswith('{\n  "response": {\n')


def test_errors_as_text(run: Run) -> None:
    status, out, err = run("thing", "show", "none")
    assert (status, out) == (1, "")
    assert err == "ERROR: tool: DER_NONEXIST(-1005): thing 'none' not found\n"


def test_errors_as_json(run: Run) -> None:
    status, out, err = run("thing", "show", "none", "-j")
    assert (status, err) == (1, "")
    assert json.loads(out) == {
        "response": None,
        "error": "DER_NONEXIST(-1005): thing 'none' not found",
        "status": -1005,
    }


def test_an_answer_that_is_half_a_failure(run: Run) -> None:
    assert run("thing", "show", "half") == (1, "half of it\n", "")
    status, out, _ = run("thing", "show", "half", "-j")
    assert (status, json.loads(out)["response"]) == (1, {"half": True})


def test_what_went_wrong_at_some(run: Run) -> None:
    assert run("thing", "show", "some") == (
        1,
        "a\n",
        "ERROR: tool: b: gone\nERROR: tool: c: lost\n",
    )
    status, out, err = run("thing", "show", "some", "-j")
    assert (status, err) == (1, "")
    assert json.loads(out) == {"response": ["a"], "error": "b: gone; c: lost", "status": -1025}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("thing show", "missing argument 'NAME'; see `tool thing show --help`"),
        ("thing show a b", "unexpected extra argument"),
        ("thing show a --wide", "no such option"),
        ("thing burn", "no such command 'burn'"),
        ("things", "no such command 'things'; did you mean 'thing'? see `tool --help`"),
    ],
)
def test_usage(run: Run, line: str, text: str) -> None:
    status, out, err = run(*line.split())
    assert (status, out) == (1, "")
    assert err.startswith("ERROR: tool: ")
    assert text in err.lower().replace("missing argument 'name'", "missing argument 'NAME'")
    status, out, err = run(*line.split(), "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["status"] == -1003


def test_a_group_without_a_command(run: Run) -> None:
    status, out, err = run("thing")
    assert (status, out) == (1, "")
    assert err.startswith("Usage: tool thing ")
    assert err.endswith("\n\nERROR: tool: name a command of `tool thing`: show\n")
    status, out, err = run("-j", "thing")
    assert (status, err) == (1, "")
    assert json.loads(out)["error"] == "name a command of `tool thing`: show"


def test_a_tool_that_needs_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command("go", cls=Command)
    @click.pass_obj
    def go(options: Options) -> Answer:
        return Answer(f"gone {options.get('sys')}")

    goer = Tool("goer", options=[click.Option(["-G", "--sys"])], alone=go, help="It goes.")
    goer.add_command(go)
    for line in ("", "go", "-G mine", "go -G mine"):
        assert main(goer, line.split()) == 0
        assert capsys.readouterr().out == f"gone {'mine' if 'mine' in line else None}\n"
    assert main(goer, ["gone"]) == 1


def test_a_reader_that_has_gone_and_a_full_disk() -> None:
    line = "from daos.cli.dmg import run; run()"
    for target, status, said in (("| true", 1, ""), ("> /dev/full", 1, "No space left on device")):
        done = subprocess.run(
            f"{sys.executable} -c '{line}' completion bash {target}; exit ${{PIPESTATUS[0]}}",
            shell=True,
            executable="/bin/bash",
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if target != "| true" or done.returncode:  # it may have been faster than the reader's end
            assert done.returncode == status
            assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


def test_help_loads_nothing(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert "Work with things." in out
    assert "Not to be loaded." in out
    assert "secret" not in out
    status, out, _ = run("thing", "--help")
    assert "Show a thing" in out
    status, out, _ = run("thing", "show", "-h")
    assert status == 0
    assert "--json" in out
    assert "--sys" in out


def test_lists_on_the_command_line() -> None:
    assert pairs("a:1,b:x;y", "properties") == {"a": "1", "b": "x;y"}
    assert pairs("a:", "properties") == {"a": ""}
    for text in ("a", "a:1,", ":1", "a:1,a:2", ""):
        with pytest.raises(InvalidError, match="key:value"):
            pairs(text, "properties")
    assert names("a, b,") == ("a", "b")
    assert names(None) == ()
    assert isinstance(show, Command)
