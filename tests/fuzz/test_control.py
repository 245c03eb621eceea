"""What servers read from files and from gRPC trailers: a value, or the right error."""

from __future__ import annotations

import contextlib

import xxhash
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import CorruptError, DaosError, InvalidError
from daos.base.sets import parse_hosts, parse_ranks, print_ranks
from daos.control import faults
from daos.control.config.others import parse_agent, parse_control
from daos.control.config.server import KEYS, parse
from daos.control.layout import HandleRecord, Superblock, SystemRecord

U = "a1111111-2222-4333-8444-555555555555"
VALUES = (
    *("1", "-1", "x", "[]", "[a,b]", "{}", "true", "null", "[{}]", "[[1]]", "1e3", "0x_", "09"),
    *("1:30", "2020-01-01"),
    "&a {name: *a}",
    "!!binary aGk=",
    "# no",
    '"',
)
LINES = st.lists(
    st.tuples(
        st.sampled_from(
            ["version", "uuid", "rank", "name", "attributes", "boot", "handles", "uri", "? [a]"]
        ),
        st.sampled_from(
            [
                "1",
                "null",
                "''",
                "{}",
                "{a: b}",
                f"{{{U}: 1 2 {U}}}",
                U,
                "[1]",
                "&a [*a]",
                "2020-01-01",
                "'",
            ]
        ),
    ),
    max_size=9,
)


@given(st.binary(max_size=200))
def test_bytes(raw: bytes) -> None:
    for kind in (Superblock, SystemRecord, HandleRecord):
        with contextlib.suppress(CorruptError):
            kind.parse(raw)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=4))
def test_settings_are_read_as_they_were_written(name: str, settings: dict[str, str]) -> None:
    record = SystemRecord(name, 3, settings, settings)
    assert SystemRecord.parse(record.emit()) == record


@given(LINES)
def test_whatever_has_a_right_checksum(lines: list[tuple[str, str]]) -> None:
    body = "".join(f"{key}: {value}\n" for key, value in lines).encode()
    raw = body + f"checksum: {xxhash.xxh3_64_intdigest(body):016x}\n".encode()
    for kind in (Superblock, SystemRecord, HandleRecord):
        with contextlib.suppress(CorruptError):
            value = kind.parse(raw)
            assert kind.parse(value.emit()) == value


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(KEYS)),
            st.sampled_from(VALUES),
        ),
        max_size=12,
    )
)
def test_configurations(lines: list[tuple[str, str]]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in lines)
    for read in (parse, parse_agent, parse_control):
        with contextlib.suppress(InvalidError, faults.FaultError):
            read(text, file="x.yml")


@given(st.text(max_size=200))
def test_any_text_as_a_configuration(text: str) -> None:
    for read in (parse, parse_agent, parse_control):
        with contextlib.suppress(InvalidError, faults.FaultError):
            read(text, file="x.yml")


def test_deep_nesting() -> None:
    for text in ("[" * 5000, "{a: " * 5000, "a: &a [*a]", "- " * 5000):
        with contextlib.suppress(InvalidError, faults.FaultError):
            parse(text, file="x.yml")


@given(st.text(alphabet="0123456789-,[] a", max_size=30))
def test_rank_sets(text: str) -> None:
    with contextlib.suppress(InvalidError):
        ranks = parse_ranks(text)
        assert parse_ranks(print_ranks(ranks)) == ranks


@given(st.text(alphabet="h.:0159-,[] ", max_size=30))
def test_host_sets(text: str) -> None:
    with contextlib.suppress(InvalidError):
        hosts = parse_hosts(text)
        assert len(set(hosts)) == len(hosts)


@given(st.binary(max_size=100) | st.sampled_from([b"{}", b'{"der": []}', b"[" * 5000]))
def test_trailers(raw: bytes) -> None:
    assert isinstance(faults.parse(raw, "otherwise"), DaosError)
