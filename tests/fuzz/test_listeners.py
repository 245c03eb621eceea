"""Garbage and truncated frames against a served system cost their sender's connection only."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.listeners import run


def test_an_honest_client_among_peers_without_manners(tmp_path: Path) -> None:
    outcome = run(tmp_path, seed=11, seconds=3)
    assert outcome.honest > 5
    assert sum(outcome.attacks.values()) > 100
