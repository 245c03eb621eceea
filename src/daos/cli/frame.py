"""What all command lines share: options that stand anywhere, the JSON envelope, errors, groups.

    main(tool, group, arguments) --> a command --> Answer --> text on stdout, or the envelope
                                        └ DaosError, UsageError --> stderr, or the envelope; exit 1

A command returns an `Answer` and prints nothing itself. Groups name the modules of their commands
and load one when it is asked for, so that help and completion stay fast.

Source: DAOS src/control/cmd/dmg/main.go, src/control/lib/ui; features "Conventions"
"""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, NoReturn

import click

from daos.base.errors import DER, DaosError, InvalidError
from daos.cli import told

_CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Answer(NamedTuple):
    """What a command has to say.

    `failed`: it is said, and the exit status is 1. `problems`: what went wrong at some of those
    that were asked, a line each; it has failed, too. `notices`: what people should know besides.
    """

    text: str = ""
    response: object = None
    failed: bool = False
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(slots=True)
class Options:
    """Options that every command of a tool takes, wherever they stand. One for each run."""

    json: bool = False
    debug: bool = False
    values: dict[str, Any] | None = None  # of the tool's own, by name

    def get(self, name: str) -> Any:  # noqa: ANN401  # as click made it
        """An option of the tool; None where it was not given."""
        return (self.values or {}).get(name)


class _Inner(click.Command):
    """A command below a tool, which takes the tool's options as well."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  # click's
    ) -> click.Context:
        root = parent.find_root().command if parent is not None else None
        taken = {word for option in self.params for word in option.opts}
        if isinstance(root, Tool):
            self.params += [option for option in root.shared if taken.isdisjoint(option.opts)]
        return super().make_context(info_name, args, parent, **extra)


class Command(_Inner):
    """A command that gives an `Answer`."""


class Entry(NamedTuple):
    """A command, or group of commands, that is loaded when it is needed."""

    place: str  # "daos.cli.dmg_pool:group"
    help: str
    aliases: tuple[str, ...] = ()
    hidden: bool = False


class Group(_Inner, click.Group):
    """Commands by name, loaded one by one; aliases are accepted and not listed.

    `alone` is what a line without a command does; without it, it is a mistake.
    """

    def __init__(
        self,
        name: str,
        *,
        help: str,
        entries: Mapping[str, Entry] | None = None,
        params: list[click.Parameter] | None = None,
        alone: click.Command | None = None,
    ) -> None:
        super().__init__(
            name=name,
            help=help,
            params=params,
            context_settings=_CONTEXT,
            invoke_without_command=alone is not None,
            callback=_unless_named(alone) if alone is not None else None,
        )
        self.entries = dict(entries or {})
        self._aliases = {
            alias: name for name, entry in self.entries.items() for alias in entry.aliases
        }

    def alias(self, name: str, *others: str) -> None:
        """Let a command be called by other names, too."""
        self._aliases.update(dict.fromkeys(others, name))

    @property
    def aliases(self) -> frozenset[str]:
        """Names that are accepted and not listed."""
        return frozenset(self._aliases)

    def list_commands(self, ctx: click.Context) -> list[str]:
        own = super().list_commands(ctx)
        return sorted({*own, *(name for name, entry in self.entries.items() if not entry.hidden)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = self._aliases.get(cmd_name, cmd_name)
        entry = self.entries.get(name)
        if entry is None:
            return super().get_command(ctx, name)
        module, _, attribute = entry.place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; what it suggests would be of the commands that are loaded."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, without loading what is only listed."""
        rows = []
        for name in self.list_commands(ctx):
            entry = self.entries.get(name)
            if entry is not None:
                rows.append((name, entry.help))
            elif (command := super().get_command(ctx, name)) is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(80)))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _unless_named(alone: click.Command) -> Callable[[], Answer | None]:
    def call() -> Answer | None:
        ctx = click.get_current_context()
        answer: Answer | None = ctx.invoke(alone) if ctx.invoked_subcommand is None else None
        return answer

    return call


class Tool(Group):
    """The outermost group of a command line, with the options that stand anywhere."""

    def __init__(
        self,
        name: str,
        *,
        options: Iterable[click.Option] = (),
        entries: Mapping[str, Entry] | None = None,
        debug: tuple[str, str] = ("-d", "--debug"),
        alone: click.Command | None = None,
        help: str,
    ) -> None:
        self.shared = [
            _shared(click.Option(["-j", "--json"], is_flag=True, help="Answer in JSON.")),
            _shared(click.Option(list(debug), is_flag=True, help="Tell more of what is done.")),
            *(_shared(option) for option in options),
        ]
        super().__init__(name, entries=entries, help=help, params=list(self.shared), alone=alone)


def _shared(option: click.Option) -> click.Option:
    option.expose_value = False
    option.callback = _keep
    return option


def is_shared(parameter: click.Parameter) -> bool:
    """Whether it is of a whole tool; commands that have run have those, too."""
    return parameter.callback is _keep


def _keep(ctx: click.Context, option: click.Parameter, value: object) -> object:
    options = ctx.ensure_object(Options)
    name = option.name or ""
    if value is None or value is False or value == ():
        return value  # said before, perhaps
    if name in ("json", "debug"):
        setattr(options, name, True)
    else:
        options.values = {**(options.values or {}), name: value}
    return value


def main(tool: Tool, arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = Options(json=_wants_json(given))
    name = tool.name or ""
    try:
        answer = tool.main(given, prog_name=name, standalone_mode=False, obj=options)
        return _say(name, answer, options) if isinstance(answer, Answer) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return _fail(name, options, DaosError("interrupted", code=DER.CANCELED))
    except click.exceptions.NoArgsIsHelpError as error:
        return _help(error, options)
    except click.ClickException as error:
        return _fail(name, options, _usage(error))
    except DaosError as error:
        if options.debug:
            traceback.print_exc()
        return _fail(name, options, error)


def run_tool(tool: Tool) -> NoReturn:
    """What a console script does."""
    # Nearly all that is allocated in so short a life stays: it is not looked at again and again.
    gc.set_threshold(100_000, 50, 100)
    sys.exit(main(tool))


def _say(name: str, answer: Answer, options: Options) -> int:
    """Print it. Raises: DaosError  standard output takes no more"""
    try:
        if options.json:
            told.envelope(answer.response, problems=answer.problems)
        elif answer.text:
            shown = sys.stdout is not None and sys.stdout.isatty()  # it may be closed
            text = _fitted(answer.text) if shown else answer.text
            text = _encodable(text)
            print(text, end="" if text.endswith("\n") else "\n", flush=True)
    except OSError as error:
        # What stands in the buffer would be tried again, and complained of, at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return told.FAILED
        raise DaosError(f"can't print the answer: {error.strerror}") from error
    if not options.json:
        for notice in answer.notices:
            print(f"NOTICE: {name}: {notice}", file=sys.stderr)
        told.complain(name, answer.problems)
    return told.FAILED if answer.failed or answer.problems else 0


def _encodable(text: str) -> str:
    """As standard error shows what it can't encode, `\\udcff`: a name need not be UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _fitted(text: str) -> str:
    """For the terminal that it is shown on. `COLUMNS` says how wide that is, if it is set."""
    from daos.cli.fit import fit  # only for people

    return fit(text, shutil.get_terminal_size().columns)


def _fail(name: str, options: Options, error: DaosError) -> int:
    told.show(name, error, as_json=options.json)
    return told.FAILED


def _help(error: click.exceptions.NoArgsIsHelpError, options: Options) -> int:
    """A group was named, and no command of it."""
    assert error.ctx is not None
    group, path = error.ctx.command, error.ctx.command_path
    assert isinstance(group, Group)
    if not options.json:
        print(error.ctx.get_help(), end="\n\n", file=sys.stderr)
    known = ", ".join(group.list_commands(error.ctx))
    return _fail(path.split()[0], options, InvalidError(f"name a command of `{path}`: {known}"))


def _usage(error: click.ClickException) -> InvalidError:
    text = error.format_message().rstrip(".")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        see = f"ee `{error.ctx.command_path} --help`"
        text += f" S{see}" if text.endswith("?") else f"; s{see}"
    return InvalidError(text[:1].lower() + text[1:])


def _wants_json(arguments: Sequence[str]) -> bool:
    """Also where the line cannot be parsed at all."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(each in ("-j", "--json") for each in before)


def pairs(text: str, what: str) -> dict[str, str]:
    """`key:value,key:value` as a mapping.

    Raises: InvalidError  a part without a colon, or a key that comes twice
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, colon, value = part.strip().partition(":")
        if not colon or not key or key in found:
            raise InvalidError(f"{what} {text!r}: expected key:value,key:value; at {part!r}")
        found[key] = value
    return found


def names(text: str | None) -> tuple[str, ...]:
    """`key,key` as a tuple; none where there is no text."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def command(group: Group, name: str, *aliases: str) -> Callable[[Callable[..., Answer]], Command]:
    """As `group.command`, for functions that give an `Answer`; `aliases` are accepted as well."""
    group.alias(name, *aliases)

    def made(function: Callable[..., Answer]) -> Command:
        built = click.command(name, cls=Command)(function)
        group.add_command(built)
        return built

    return made
