"""Which bytes of a file were ever written, chunk by chunk, whatever chunk size its entry says.

Source: DAOS src/client/dfs/cont.c adjust_chunk_size
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from daos.base.iod import Recx
from daos.client import chunks
from daos.client.listing import PAGE_ENTRIES, Listing
from daos.client.objectio import ObjectIo
from daos.client.shardlist import dkey_sources, key_anchor

if TYPE_CHECKING:
    from daos.client.values import Key
    from daos.dfs.mount import Mount


async def of(mount: Mount, io: ObjectIo) -> AsyncGenerator[tuple[int, Recx]]:
    """(number of a chunk, bytes in it), for each range that holds something."""
    async for number in _chunks(mount, io):
        anchor, eof = b"", False
        while not eof:
            with mount._operation(None) as call:
                page = await io.client.list_recxs(
                    chunks.dkey_of(number),
                    chunks.AKEY,
                    anchor=anchor,
                    limit=PAGE_ENTRIES,
                    call=call,
                )
            for recx in page.recxs:
                yield number, recx
            anchor, eof = page.anchor, page.eof


async def longest(mount: Mount, io: ObjectIo) -> int:
    """The end of the last byte in the chunk that reaches farthest. Cost: a request a chunk."""
    found = 0
    async for number in _chunks(mount, io):
        with mount._operation(None) as call:
            page = await io.client.list_recxs(
                chunks.dkey_of(number), chunks.AKEY, anchor=b"", limit=1, reverse=True, call=call
            )
        found = max(found, *(recx.end for recx in page.recxs), 0)
    return found


def _chunks(mount: Mount, io: ObjectIo) -> Listing[Key, int]:
    return Listing(
        mount,
        dkey_sources(io),
        lambda key: int(key) - 1,
        decoder=key_anchor(io.oid.type.dkey_kind),
        ordered=False,
    )
