"""What may still be put: every update holds room for itself and for the checkpoint that copies it.

    hold --> (reserve, commit) --> release

A hold counts a worst case of tree pages, and blocks of data. The next checkpoint must fit beside
the one in force, whatever is held, and the one after it beside the next: that takes more where the
one in force is smaller. So what an update may take of the device is what is left when the pages of
the tree, those held, and those released since the tree was counted have their place, twice less
the blocks that the checkpoint in force gives back.

The last pages are for what gives space back, punches and merges: a full shard can be emptied.

To work that out takes 3 µs; it is done once for some hundred holds. Each time a bound is noted: up
to so many pages in all, and with so many blocks left over, anything fits. What lies within it takes
two comparisons.

Invariants:
    R1  the bound is below what the long way would allow, as long as the run that is put by for the
        manifest is not given back; `settle`, which may do that, forgets the bound
Source: DAOS src/vos/vos_space.c vos_space_hold; ours: room for checkpoints, pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from daos.base.errors import InvalidError, NoSpaceError
from daos.bio.checkpoint import ManifestRoom, checkpoint_blocks
from daos.bio.space import Space

# Pages that may be held, and released, before the tree is counted again.
RECOUNT_PAGES: Final = 512
# Pages that updates leave to punches and merges: a share of the shard, and no more than this. A
# punch asks for some ten and takes a fraction of one.
SPARE_PAGES_MAX: Final = 256
_SPARE_SHARE: Final = 128


class Hold(msgspec.Struct, eq=False, gc=False):
    """Room promised to one update; give it to `Room.release` once it is through."""

    tree_pages: int
    data_blocks: int


class Room:
    """The room of one shard.

    `count_pages` gives those of the tree as it is; `blocks_coming` the blocks of the checkpoint in
    force that go when the one under way is whole; `blocks_standing` those of the one that will be
    in force when the next begins. Where room is short, `reclaim` makes blocks free that nobody
    needs any more and says how many, and `want_blocks` hears of an update that was refused, so that
    what was freed last is there for its next try.
    """

    __slots__ = (
        "_blocks_coming",
        "_blocks_safe",
        "_blocks_standing",
        "_count_pages",
        "_held",
        "_reclaim",
        "_space",
        "_spare",
        "_total",
        "_total_safe",
        "_want_blocks",
        "manifest",
    )

    def __init__(
        self,
        space: Space,
        *,
        count_pages: Callable[[], int],
        blocks_coming: Callable[[], int],
        blocks_standing: Callable[[], int],
        reclaim: Callable[[], int],
        want_blocks: Callable[[], None],
    ) -> None:
        self.manifest = ManifestRoom(space)
        self._space = space
        self._count_pages = count_pages
        self._blocks_coming = blocks_coming
        self._blocks_standing = blocks_standing
        self._reclaim = reclaim
        self._want_blocks = want_blocks
        self._spare = min(SPARE_PAGES_MAX, space.block_count // _SPARE_SHARE)
        self._held = 0  # pages of holds
        self._total = 0  # those, those released since, and those of the tree when last counted
        # Up to so many pages, with so many blocks available beside, everything fits (R1).
        self._total_safe = -1
        self._blocks_safe = 0
        self.recount()

    @property
    def pages_held(self) -> int:
        """Pages of holds that were not released yet."""
        return self._held

    def hold(self, *, tree_bytes: int, data_blocks: int, last: bool = False) -> Hold:
        """Promise room for an update, counting the checkpoint that will copy it.

        Units:      tree_bytes = keys and values that may be put; data_blocks to be reserved;
                    `last`: it gives space back, and may take what is put by for that
        Raises:     NoSpaceError   nothing was changed
        """
        # LMDB merges pages less than a quarter full; and one put may split a page per level.
        pages = 8 + (tree_bytes >> 10) if tree_bytes else 0
        total = self._total + pages
        if (
            tree_bytes < 0
            or total > self._total_safe
            or not self._space.hold_leaving(data_blocks, self._blocks_safe)
        ):
            self._find(tree_bytes, pages, data_blocks, 0 if last else self._spare)
            self._space.hold(data_blocks)
            total = self._total + pages
        self._held += pages
        self._total = total
        return Hold(pages, data_blocks)

    def release(self, hold: Hold) -> None:
        """Give a hold back, in the turn in which its reservations were committed or cancelled."""
        if hold.data_blocks:
            self._space.unhold(hold.data_blocks)
            hold.data_blocks = 0
        self._held -= hold.tree_pages
        hold.tree_pages = 0

    def recount(self) -> int:
        """What was held was a worst case; see what the tree really takes. Returns its pages."""
        pages = self._count_pages()
        self._total = pages + self._held
        return pages

    def settle(self) -> None:
        """Put by what the next manifest may need; the one before it is in force, or given up."""
        self._total_safe = -1
        self.manifest.settle(self._checkpoint_need(0))

    def blocks_left(self) -> int:
        """Blocks for updates, beside the next checkpoints; below 0 where the spare is in use."""
        return self._blocks_left(self._checkpoint_need(self._spare))

    def _find(self, tree_bytes: int, pages: int, data_blocks: int, spare: int) -> None:
        """The long way: count, reclaim, note a new bound. Raises: NoSpaceError, InvalidError."""
        if tree_bytes < 0 or data_blocks < 0:
            raise InvalidError(f"hold of {tree_bytes} bytes and {data_blocks} blocks")
        self.recount()
        wanted = pages + spare
        if not self._fits(wanted, data_blocks):
            manifest, reclaim = self.manifest, self._reclaim
            while not manifest.grow(self._checkpoint_need(wanted)) and reclaim():
                pass
            while not self._fits(wanted, data_blocks) and reclaim():
                pass
            if not self._fits(wanted, data_blocks):
                self._want_blocks()
                left = self._blocks_left(self._checkpoint_need(spare))
                suits = manifest.suits(self._checkpoint_need(wanted))
                where = "" if suits else ", too scattered for it"
                raise NoSpaceError(
                    f"the shard is full: {data_blocks} blocks and {pages} tree pages wanted, "
                    f"{left} blocks left beside the next checkpoint{where}"
                )
        for ahead in (RECOUNT_PAGES, RECOUNT_PAGES // 8):
            need = self._checkpoint_need(ahead + self._spare)
            # The manifest takes blocks ahead only where that is next to nothing of what is left.
            if self.manifest.suits(need) or (
                self._space.blocks_available >= 32 * need and self.manifest.grow(need)
            ):
                self._total_safe = self._total + ahead
                self._blocks_safe = 2 * need  # whatever stands
                return

    def _fits(self, pages: int, data_blocks: int) -> bool:
        need = self._checkpoint_need(pages)
        if not self.manifest.suits(need):
            return False
        return data_blocks <= min(self._blocks_left(need), self._space.blocks_available)

    def _checkpoint_need(self, pages: int) -> int:
        """Blocks of the next checkpoint, with `pages` more than there may be by now."""
        pages += self._total
        return checkpoint_blocks(pages + pages // 16, self._space.map_bytes_max)

    def _blocks_left(self, need: int) -> int:
        twice = 2 * need - self._blocks_standing()
        return self._space.blocks_available - max(need, twice) + self._blocks_coming()
