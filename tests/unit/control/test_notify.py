"""Readiness, told as systemd wants it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daos.control.notify import VARIABLE, Notice, tell


@pytest.fixture
def path() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="dn"))
    yield directory / "notify.sock"
    shutil.rmtree(directory)


def test_who_waits_hears_it(path: Path) -> None:
    async def main() -> None:
        notice = Notice(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"STATUS=still starting", str(path))  # something else first
        tell({VARIABLE: str(path)}, status="well")
        await notice.wait()
        notice.close()
        notice.close()

    asyncio.run(main())
    assert not path.exists()


def test_an_abstract_address(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{path}")
        tell({VARIABLE: f"@{path}"}, status="well")
        assert listening.recv(100) == b"READY=1\nSTATUS=well"


@pytest.mark.parametrize("environ", [{}, {VARIABLE: ""}, {VARIABLE: "x"}, {VARIABLE: "/no/such"}])
def test_nobody_waits(environ: dict[str, str]) -> None:
    tell(environ)
