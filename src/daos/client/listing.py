"""Enumeration over shards: pages, in order where the keys have one, resumable by an anchor.

A `_Source` is what one shard enumerates, page after page. A `Listing` runs over all sources of an
object, a key or a container:

    ordered     integer and lexical keys, object ids: the sources are merged, ascending overall, or
                descending where each gives its entries backwards; an entry that several sources
                give comes once
    otherwise   one source after the other, in whatever order its shard has

What there is at the time a page is fetched is what the page shows; an enumeration is no snapshot
(read one through `container.at`). An anchor names the last entry given and the pages at hand, as
MessagePack `[last entry, [page anchor or nil, ...]]`, nil for a source that had ended: opaque to
users, good in another process. Entries that exist all the time come at least once, and exactly once
as long as the entry named by an unordered anchor has not been removed.

Source: DAOS src/object/cli_obj.c obj_list_*; merging the shards is ours, DAOS leaves it to users
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, Self, TypeAlias, TypeVar

import msgspec

from daos.base.errors import DaosError, InvalidError
from daos.client.objectio import first_error
from daos.client.session import Call, Handle

EntryT = TypeVar("EntryT")  # what sources give; entries of one ordered listing compare
ItemT = TypeVar("ItemT")  # what users see of it

PAGE_ENTRIES: Final = 1024


class Page(NamedTuple, Generic[EntryT]):
    """Entries of one source, where it goes on, and whether that was all."""

    entries: Sequence[EntryT]
    anchor: bytes
    eof: bool


# Reads `[last entry, [page anchor or nil, ...]]`.
AnchorDecoder: TypeAlias = "msgspec.msgpack.Decoder[tuple[EntryT | None, list[bytes | None]]]"

# Fetches the page at an anchor; b"" is the first.
Fetch = Callable[[bytes, Call], Awaitable[Page[EntryT]]]


class _Source(Generic[EntryT]):
    """One shard's enumeration: the page at hand, read up to `position`."""

    __slots__ = ("anchor", "eof", "fetch", "page", "page_anchor", "position")

    def __init__(self, fetch: Fetch[EntryT], at: bytes | None) -> None:
        self.fetch = fetch
        self.page: Sequence[EntryT] = ()
        self.position = 0
        self.page_anchor = self.anchor = at or b""
        self.eof = at is None

    @property
    def empty(self) -> bool:
        return self.position == len(self.page)

    @property
    def finished(self) -> bool:
        return self.eof and self.empty

    async def fill(self, call: Call) -> None:
        """Have an unread entry, or be finished."""
        while self.empty and not self.eof:
            page = await self.fetch(self.anchor, call)
            self.page_anchor = self.anchor
            self.page, self.anchor, self.eof = page
            self.position = 0


class Listing(Generic[EntryT, ItemT]):
    """An asynchronous iterator with an `anchor`; each turn of pages has a deadline of its own.

    Raises: on iteration whatever the requests raise; nothing is skipped by going on after that
    """

    def __init__(
        self,
        handle: Handle,
        sources: Sequence[Fetch[EntryT]],
        item: Callable[[EntryT], ItemT],
        *,
        decoder: AnchorDecoder[EntryT],
        ordered: bool,
        reverse: bool = False,
        anchor: bytes = b"",
        limit: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Raises: InvalidError for an anchor of another enumeration.

        `reverse`: the sources of an ordered listing descend. `limit`: it ends after so many items.
        """
        self._left = -1 if limit is None else limit
        self._handle = handle
        self._item = item
        self._ordered = ordered
        self._reverse = reverse
        self._timeout = timeout
        self._last: EntryT | None = None  # before the batch
        self._state: list[bytes | None] = [b""] * len(sources)  # the pages the batch came from
        self._batch: list[EntryT] = []
        self._index = 0
        self._resuming = bool(anchor)
        if anchor:
            self._last, self._state = _parse_anchor(anchor, decoder, len(sources))
        self._sources = [_Source(fetch, at) for fetch, at in zip(sources, self._state, strict=True)]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        if not self.ready and not await self.turn():
            raise StopAsyncIteration
        return self.pop()

    @property
    def ready(self) -> bool:
        """Whether `pop` has something to give."""
        return self._left != 0 and self._index < len(self._batch)

    def pop(self) -> ItemT:
        """The next item at hand."""
        entry = self._batch[self._index]
        self._index += 1
        self._left -= 1
        return self._item(entry)

    def take(self) -> list[ItemT]:
        """All items at hand."""
        end = len(self._batch)
        if self._left >= 0:
            end = min(end, self._index + self._left)
        items = [self._item(entry) for entry in self._batch[self._index : end]]
        self._left -= len(items)
        self._index = end
        return items

    @property
    def anchor(self) -> bytes:
        """Where to go on after the item given last: pass it to the same call, now or later."""
        return msgspec.msgpack.encode([self._last_given(), self._state])

    async def turn(self) -> bool:
        """Have something at hand; False at the end, or at the limit."""
        while (
            self._left and not self.ready and not all(source.finished for source in self._sources)
        ):
            with self._handle._operation(self._timeout) as call:
                await self._next_batch(call)
        return self.ready

    def _last_given(self) -> EntryT | None:
        return self._batch[self._index - 1] if self._index else self._last

    async def _next_batch(self, call: Call) -> None:
        ended = [source.finished for source in self._sources]
        last = self._last_given()
        batch = await (self._merge(call) if self._ordered else self._in_turn(call))
        self._state = [
            None if end else source.page_anchor
            for end, source in zip(ended, self._sources, strict=True)
        ]
        if self._ordered:
            batch = [entry for entry in _once(batch) if last is None or self._after(entry, last)]
        elif self._resuming and last in batch:
            del batch[: batch.index(last) + 1]
        self._last, self._batch, self._index, self._resuming = last, batch, 0, False

    async def _in_turn(self, call: Call) -> list[EntryT]:
        for source in self._sources:
            await source.fill(call)
            if not source.empty:
                source.position, batch = len(source.page), list(source.page[source.position :])
                return batch
        return []

    async def _merge(self, call: Call) -> list[EntryT]:
        await _fill([source for source in self._sources if source.empty and not source.eof], call)
        # Up to the nearest of the last entries at hand no page to come can bring anything.
        ends: list[Any] = [source.page[-1] for source in self._sources if not source.eof]
        nearest: Any = (max if self._reverse else min)(ends) if ends else None
        batch: list[Any] = []  # entries compare, which the type of a union of keys can't say
        for source in self._sources:
            page: Sequence[Any] = source.page
            end = len(page)
            if ends:
                end = bisect_left(page, True, lo=source.position, key=self._beyond(nearest))
            batch += page[source.position : end]
            source.position = end
        batch.sort(reverse=self._reverse)
        return batch

    def _beyond(self, nearest: EntryT) -> Callable[[EntryT], bool]:
        """Whether an entry comes behind `nearest`."""
        return lambda entry: self._after(entry, nearest)

    def _after(self, entry: EntryT, last: EntryT) -> bool:
        this: Any = entry  # compares, as above
        return bool(this < last if self._reverse else this > last)


async def _fill(sources: Sequence[_Source[EntryT]], call: Call) -> None:
    if len(sources) == 1:
        await sources[0].fill(call)
        return
    try:
        async with asyncio.TaskGroup() as group:
            for source in sources:
                group.create_task(source.fill(call))
    except* DaosError as errors:
        raise first_error(errors) from None


def _once(batch: Sequence[EntryT]) -> list[EntryT]:
    """A sorted batch with each entry once."""
    return [entry for index, entry in enumerate(batch) if not index or entry != batch[index - 1]]


def _parse_anchor(
    anchor: bytes, decoder: AnchorDecoder[EntryT], sources: int
) -> tuple[EntryT | None, list[bytes | None]]:
    try:
        last, state = decoder.decode(anchor)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        raise InvalidError(f"this is no anchor of this enumeration: {error}") from None
    if len(state) != sources:
        raise InvalidError(f"the anchor is of {len(state)} shards, this enumeration has {sources}")
    return last, state
