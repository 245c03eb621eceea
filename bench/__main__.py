"""Command line of the benchmarks; `./dev bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.machine import describe, keep_bytecode, scratch
from bench.profiling import profiled
from bench.report import Report, Row, cells, print_report
from bench.run import Run
from bench.suites import SUITES
from daos.base.errors import DaosError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites; the process's status: 1 if a count is wrong, 2 if they could not run."""
    options = _parser().parse_args(arguments)
    chosen = options.names or list(SUITES)
    unknown = [name for name in chosen if name not in SUITES]
    if unknown:
        sys.stderr.write(f"bench: no suite {unknown[0]!r}; there are {', '.join(SUITES)}\n")
        return 2
    try:
        with scratch(options.dir) as directory:
            keep_bytecode(directory / "bytecode")
            report = Report(describe(options.loop, directory), heard=_progress)
            whole = bool(options.names) and not options.quick
            run = Run(directory, report, loop=options.loop, quick=options.quick, whole=whole)
            for name in chosen:
                run.suite = name
                if options.profile:
                    profiled(SUITES[name], run, out=sys.stderr)
                else:
                    SUITES[name](run)
                run.clear()
    except DaosError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    if options.json:
        sys.stdout.write(report.emit_json() + "\n")
    else:
        print_report(report)
    for row in report.failed:
        sys.stderr.write(f"bench: wrong count: {row.what}: {row.value:g}, not {row.budget}\n")
    return 1 if report.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description="Benchmarks and budgets.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--quick", action="store_true", help="an eighth of the work, one round")
    parser.add_argument("--dir", type=Path, help="where the data goes; on a real disk")
    parser.add_argument("--loop", default="asyncio", choices=("asyncio", "uvloop"))
    parser.add_argument("--profile", action="store_true", help="where the processor's time goes")
    return parser


def _progress(row: Row) -> None:
    """A full run takes minutes: say what has been found on the way."""
    if sys.stderr.isatty() and not row.ok:
        sys.stderr.write("  ".join(filter(None, cells(row))) + "\n")


if __name__ == "__main__":
    sys.exit(main())
