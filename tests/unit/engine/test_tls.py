"""What modules keep for each xstream, and their numbers."""

from __future__ import annotations

from typing import cast

import pytest

from daos.base.errors import InvalidError
from daos.engine.metrics import Metrics
from daos.engine.tls import Tls, TlsKey, XstreamKind
from daos.engine.xstream import Xstream


class _Place:
    """What a key looks at of an xstream."""

    def __init__(self, kind: XstreamKind, tag: int) -> None:
        self.kind, self.tag = kind, tag


def place(kind: XstreamKind, tag: int) -> Xstream:
    return cast("Xstream", _Place(kind, tag))


SYSTEM = place(XstreamKind.SYSTEM, 0)
TARGET = place(XstreamKind.TARGET, 3)


def test_a_value_an_xstream_made_at_its_first_use() -> None:
    made: list[int] = []
    key = TlsKey("k", XstreamKind.SERVER, lambda xstream: made.append(xstream.tag) or [xstream.tag])
    one, two = Tls([key]), Tls([key])
    assert made == []
    value = one.get(key, SYSTEM)
    assert one.get(key, SYSTEM) is value
    assert two.get(key, TARGET) == [3]
    assert made == [0, 3]


def test_keys_that_have_no_value_here() -> None:
    system = TlsKey("sys", XstreamKind.SYSTEM, lambda xstream: 1)
    unknown = TlsKey("nobody's", XstreamKind.SERVER, lambda xstream: 1)
    tls = Tls([system])
    with pytest.raises(InvalidError, match="'sys' on xstream 3"):
        tls.get(system, TARGET)
    with pytest.raises(InvalidError, match="nobody's"):
        tls.get(unknown, SYSTEM)


def test_values_end_the_youngest_first() -> None:
    ended: list[str] = []
    below = TlsKey("below", XstreamKind.SYSTEM, lambda xstream: "below", ended.append)
    above = TlsKey(
        "above",
        XstreamKind.SYSTEM,
        lambda xstream: f"above {tls.get(below, xstream)}",
        ended.append,
    )
    bare = TlsKey("bare", XstreamKind.SYSTEM, lambda xstream: 1)
    tls = Tls([above, below, bare])
    tls.get(bare, SYSTEM)
    assert tls.get(above, SYSTEM) == "above below"
    tls.close()
    assert ended == ["above below", "below"]
    tls.close()
    assert len(ended) == 2


def test_metrics() -> None:
    metrics = Metrics()
    metrics.add("b/two").value += 2
    metrics.add("a/one").value = 7
    assert metrics.add("b/two").value == 2
    assert list(metrics.read()) == [("a/one", 7), ("b/two", 2)]
