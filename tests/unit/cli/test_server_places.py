"""Where a system without configuration is."""

from __future__ import annotations

from pathlib import Path

import pytest

from daos.cli import server


@pytest.mark.parametrize("said", [None, ""])
def test_a_directory_of_sockets_that_is_not_named_is_the_storage_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None
) -> None:
    """An empty variable names none, as for clients: sockets were in the directory of the caller."""
    monkeypatch.delenv("DAOS_SOCKET_DIR", raising=False)
    if said is not None:
        monkeypatch.setenv("DAOS_SOCKET_DIR", said)
    found = server._places({"socket_dir": None, "storage": tmp_path})
    assert found.sockets == found.agent == tmp_path / "run"
    monkeypatch.setenv("DAOS_SOCKET_DIR", "/x")
    assert server._places({"socket_dir": None, "storage": tmp_path}).sockets == Path("/x")
