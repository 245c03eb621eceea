"""Space accounting of a shard: every block is in one state, and none is forgotten.

    total = free + reserved + allocated + aging + kept
    allocated = the checkpoint's + data that something refers to

Where every container has been destroyed and collected, nothing refers to data any more.
"""

from __future__ import annotations

from daos.bio.meta import MetaContext


def misfit(meta: MetaContext) -> str:
    """What does not add up, in words; empty if all does."""
    space = meta.statistics().space
    states = (
        space.blocks_free,
        space.blocks_reserved,
        space.blocks_allocated,
        space.blocks_aging,
        space.blocks_kept,
    )
    if sum(states) != space.blocks_total:
        return f"{space.blocks_total} blocks, but {sum(states)} in all states: {space}"
    if min(states) < 0:
        return f"a state of less than nothing: {space}"
    try:
        meta.space.check()
    except AssertionError as error:
        return f"the space map contradicts itself: {error}"
    return ""


def data_blocks(meta: MetaContext) -> int:
    """Blocks that are taken and are not the checkpoint's, which after a start are merely kept."""
    space = meta.statistics().space
    return space.blocks_allocated + space.blocks_kept - meta._checkpoint.blocks
