"""Enumeration over sources: merged or in turn, resumed anywhere, whatever the pages."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import DeadlineError, InvalidError
from daos.client.listing import Fetch, Listing, Page
from daos.client.session import Call, Handle

if TYPE_CHECKING:
    from collections.abc import Sequence

DECODER = msgspec.msgpack.Decoder(tuple[int | None, list[bytes | None]])


class _Open:
    """The only thing a listing asks of its handle."""

    def _operation(self, _timeout: float | None) -> nullcontext[Call]:
        return nullcontext(Call(1 << 62))


HANDLE = cast("Handle", _Open())


def source(keys: Sequence[int], page: int) -> Fetch[int]:
    """Pages of `page` entries; an anchor is the position. Every third page is empty."""

    async def fetch(anchor: bytes, _call: Call) -> Page[int]:
        at, empty = msgspec.msgpack.decode(anchor) if anchor else (0, False)
        if empty:
            return Page((), msgspec.msgpack.encode((at, False)), False)
        end = at + page
        following = msgspec.msgpack.encode((end, end % 3 == 0))
        return Page(keys[at:end], following, end >= len(keys))

    return fetch


def listing(
    sources: Sequence[Sequence[int]],
    *,
    page: int = 3,
    ordered: bool = True,
    reverse: bool = False,
    anchor: bytes = b"",
    limit: int | None = None,
) -> Listing[int, int]:
    return Listing(
        HANDLE,
        [source(keys, page) for keys in sources],
        lambda key: key,
        decoder=DECODER,
        ordered=ordered,
        reverse=reverse,
        anchor=anchor,
        limit=limit,
    )


async def collect(found: Listing[int, int], count: int = 1 << 30) -> list[int]:
    items: list[int] = []
    while len(items) < count and (found.ready or await found.turn()):
        items.append(found.pop())
    return items


shards = st.lists(st.lists(st.integers(0, 60), unique=True), min_size=1, max_size=5)


@given(shards, st.integers(1, 7))
def test_merged_it_is_sorted_and_each_once(sources: list[list[int]], page: int) -> None:
    ascending = [sorted(keys) for keys in sources]
    found = asyncio.run(collect(listing(ascending, page=page)))
    assert found == sorted({key for keys in sources for key in keys})


@given(shards, st.integers(1, 7), st.integers(0, 40))
def test_backwards_it_descends_and_resumes(sources: list[list[int]], page: int, stop: int) -> None:
    descending = [sorted(keys, reverse=True) for keys in sources]

    async def run() -> list[int]:
        first = listing(descending, page=page, reverse=True)
        head = await collect(first, stop)
        rest = listing(descending, page=page + 1, reverse=True, anchor=first.anchor)
        return head + await collect(rest)

    assert asyncio.run(run()) == sorted({key for keys in sources for key in keys}, reverse=True)


@given(shards, st.integers(1, 7))
def test_in_turn_it_is_everything(sources: list[list[int]], page: int) -> None:
    found = asyncio.run(collect(listing(sources, page=page, ordered=False)))
    assert found == [key for keys in sources for key in keys]


@given(shards, st.integers(1, 7), st.integers(0, 40))
def test_resumed_anywhere_it_goes_on(sources: list[list[int]], page: int, stop: int) -> None:
    ascending = [sorted(keys) for keys in sources]

    async def run() -> list[int]:
        first = listing(ascending, page=page)
        head = await collect(first, stop)
        return head + await collect(listing(ascending, page=page + 1, anchor=first.anchor))

    assert asyncio.run(run()) == sorted({key for keys in sources for key in keys})


@given(shards, st.integers(1, 7), st.integers(0, 40))
def test_unordered_resumed_it_goes_on(sources: list[list[int]], page: int, stop: int) -> None:
    # One key stands in one shard only: else it could not be told which one came last.
    apart = [[key * 10 + index for key in keys] for index, keys in enumerate(sources)]

    async def run() -> list[int]:
        first = listing(apart, page=page, ordered=False)
        head = await collect(first, stop)
        rest = listing(apart, page=page, ordered=False, anchor=first.anchor)
        return head + await collect(rest)

    assert asyncio.run(run()) == [key for keys in apart for key in keys]


@given(shards, st.integers(1, 7), st.integers(1, 9), st.booleans(), st.booleans())
def test_at_the_limit_it_ends_and_the_next_one_goes_on(
    sources: list[list[int]], page: int, limit: int, ordered: bool, take: bool
) -> None:
    apart = [sorted(key * 10 + index for key in keys) for index, keys in enumerate(sources)]

    async def run() -> list[int]:
        items: list[int] = []
        anchor, found = b"", [0]
        while found:
            part = listing(apart, page=page, ordered=ordered, anchor=anchor, limit=limit)
            if take:
                found = []
                while await part.turn():
                    found += part.take()
            else:
                found = await collect(part)
            assert len(found) <= limit
            assert not part.ready
            items += found
            anchor = part.anchor
        return items

    found = asyncio.run(run())
    everything = [key for keys in apart for key in keys]
    assert found == (sorted(everything) if ordered else everything)


def test_what_was_removed_meanwhile_is_missed_by_nobody_else() -> None:
    async def run() -> list[int]:
        first = listing([[1, 2, 3, 4, 5], [6, 7]])
        head = await collect(first, 3)
        return head + await collect(listing([[1, 2, 4, 5], [6, 7]], anchor=first.anchor))

    assert asyncio.run(run()) == [1, 2, 3, 4, 5, 6, 7]


def test_an_error_loses_nothing() -> None:
    broken = [True]
    good = source([1, 2, 3, 4, 5, 6, 7], 2)

    async def fetch(anchor: bytes, call: Call) -> Page[int]:
        page = await good(anchor, call)
        if 5 in page.entries and broken:
            broken.pop()
            raise DeadlineError("too late")
        return page

    async def run() -> None:
        found = Listing(
            HANDLE, [fetch, source([3, 9], 5)], lambda k: k, decoder=DECODER, ordered=True
        )
        seen = await collect(found, 4)
        with pytest.raises(DeadlineError):
            await found.turn()
        seen += [key async for key in found]
        assert seen == [1, 2, 3, 4, 5, 6, 7, 9]

    asyncio.run(run())


def test_take_gives_the_page_at_hand() -> None:
    async def run() -> None:
        found = listing([[1, 2, 3, 4, 5]], page=4)
        assert found.take() == []
        assert await found.turn()
        assert found.pop() == 1
        assert found.take() == [2, 3, 4]
        assert await collect(found) == [5]
        assert not await found.turn()
        assert await collect(listing([[1, 2, 3, 4, 5]], anchor=found.anchor)) == []

    asyncio.run(run())


@given(st.binary(max_size=40))
def test_foreign_anchors(anchor: bytes) -> None:
    try:
        listing([[1], [2]], anchor=anchor)
    except InvalidError:
        return
    assert not anchor or len(DECODER.decode(anchor)[1]) == 2


def test_an_anchor_of_another_number_of_shards() -> None:
    with pytest.raises(InvalidError, match="2 shards"):
        listing([[1]], anchor=listing([[1], [2]]).anchor)
