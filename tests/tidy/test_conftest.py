"""The manners of tests/conftest.py, tried on small test files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tidy.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[str], pytest.RunResult]

WARN = "import logging, pytest\nlog = logging.getLogger('daos.bio.wal')\n"


@pytest.fixture
def run(pytester: pytest.Pytester, caplog: pytest.LogCaptureFixture) -> Run:
    """`caplog` tells the outer run that the inner run's warnings are expected."""
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = expects_warning(text): as in pyproject.toml\n")

    def run(text: str) -> pytest.RunResult:
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider")

    return run


def test_skips_are_counted_by_reason(run: Run) -> None:
    result = run(
        "import pytest\n"
        "@pytest.mark.skip(reason='no such device')\ndef test_a(): ...\n"
        "def test_b(): pytest.skip('no such device')\n"
        "@pytest.mark.skipif(True, reason='needs root')\ndef test_c(): ...\n"
    )
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["*skipped, by reason*", "*1  needs root", "*2  no such device"])


@pytest.mark.parametrize(
    "test", ["@pytest.mark.skip\ndef test_a(): ...\n", "def test_a(): pytest.skip()\n"]
)
def test_skip_without_reason_fails(run: Run, test: str) -> None:
    result = run(f"import pytest\n{test}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*skipped without a reason*"])


def test_module_skipped_without_reason_fails(run: Run) -> None:
    result = run("import pytest\npytest.skip(allow_module_level=True)\n")
    assert result.ret != 0


def test_expected_failures_are_left_alone(run: Run) -> None:
    result = run("import pytest\n@pytest.mark.xfail\ndef test_a(): assert False\n")
    result.assert_outcomes(xfailed=1)


def test_undeclared_warning_fails(run: Run) -> None:
    result = run(WARN + "def test_a(): log.warning('flush failed on %s', 'd0')\n")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*not declared*", "WARNING daos.bio.wal: flush failed on d0"])


@pytest.mark.parametrize(
    "test",
    [
        "def test_a(): log.info('membership')\n",
        "def test_a(): logging.getLogger('other').warning('x')\n",
        "def test_a(caplog): log.error('x')\n",
        "@pytest.mark.expects_warning('flush failed')\ndef test_a(): log.warning('flush failed')\n",
    ],
)
def test_other_logging_passes(run: Run, test: str) -> None:
    run(WARN + test).assert_outcomes(passed=1)


def test_declared_warning_has_to_come(run: Run) -> None:
    result = run(WARN + "@pytest.mark.expects_warning('flush failed')\ndef test_a(): ...\n")
    result.assert_outcomes(passed=1, errors=1)
