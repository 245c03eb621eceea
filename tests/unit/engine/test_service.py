"""What services share."""

from __future__ import annotations

from uuid import UUID

import pytest

from daos.base.errors import InvalidError
from daos.engine.service import parse_id


def test_ids_have_16_bytes() -> None:
    assert parse_id(bytes(16), "pool") == UUID(int=0)
    for raw in (b"", bytes(15), bytes(17)):
        with pytest.raises(InvalidError, match="pool id"):
            parse_id(raw, "pool")
