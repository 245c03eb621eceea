"""Who is let in at a Unix socket. What the kernel says of a real stranger: tests/system."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from daos.base.peers import Door, Peer, barred, peer_of

US = os.geteuid()
STRANGER = Peer(7, US + 1000, 100)


@pytest.mark.expects_warning("refused uid=")
def test_a_private_socket_is_for_its_user_and_root(caplog: pytest.LogCaptureFixture) -> None:
    door = Door(0o600)
    assert door.refusal(Peer(7, US, 100), "x.sock") is None
    assert door.refusal(Peer(7, 0, 0), "x.sock") is None
    refusal = door.refusal(STRANGER, "x.sock")
    who = "root" if US == 0 else f"uid {US} and root"
    assert refusal is not None
    assert refusal.message == f"x.sock is for {who} alone, not for uid {STRANGER.uid}"
    assert door.refusal(STRANGER, "x.sock") is not None
    assert len(caplog.records) == 1, "a stranger does not fill a log"


def test_a_socket_of_everybody_takes_everybody(caplog: pytest.LogCaptureFixture) -> None:
    assert Door(0o666).refusal(STRANGER, "x.sock") is None
    assert not caplog.records


def test_thousands_of_users_are_refused_and_some_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "daos.base.peers")
    door = Door(0o600)
    for uid in range(US + 1, US + 1000):
        assert door.refusal(Peer(1, uid, 0), "x.sock") is not None
    assert len(door._told) <= 64


def test_what_hinders_us_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    assert barred(str(path)) is None
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert barred(str(path)) is None
        listening.listen()
        assert barred(str(path)) is None


def test_who_is_there() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert peer_of(here) == (os.getpid(), US, os.getegid())
