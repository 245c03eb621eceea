"""Space against one state per block: whatever the order of calls, no block is in two hands."""

from __future__ import annotations

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from daos.base.errors import InvalidError, NoSpaceError
from daos.bio.space import Extent, Hint, Pin, Space
from daos.bio.space_map import SpaceMap

FIRST, COUNT = 7, 60


class SpaceMachine(RuleBasedStateMachine):
    """`blocks`: what each block is. `freed`: (lsn, pins held at the time) of ageing blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.space = Space(FIRST, COUNT)
        self.blocks = dict.fromkeys(range(FIRST, FIRST + COUNT), "free")
        self.freed: dict[int, tuple[int, set[int]]] = {}
        self.order: list[list[int]] = []  # ageing extents, oldest first
        self.hints = [Hint(), Hint(), None]
        self.pins: dict[int, Pin] = {}
        self.pins_taken = 0
        self.lsn = 1

    def runs(self, state: str) -> list[Extent]:
        runs: list[Extent] = []
        for block in range(FIRST, FIRST + COUNT):
            if self.blocks[block] != state:
                continue
            if runs and sum(runs[-1]) == block:
                runs[-1] = Extent(runs[-1].block, runs[-1].count + 1)
            else:
                runs.append(Extent(block, 1))
        return runs

    def become(self, extent: Extent, old: str, new: str) -> None:
        for block in range(extent.block, extent.block + extent.count):
            assert self.blocks[block] == old
            self.blocks[block] = new

    @rule(count=st.integers(1, 20), hint=st.integers(0, 2))
    def reserve(self, count: int, hint: int) -> None:
        fits = any(run.count >= count for run in self.runs("free"))
        try:
            extent = self.space.reserve(count, self.hints[hint])
        except NoSpaceError:
            assert not fits
        else:
            assert extent.count == count
            # `reserve` may have brought ageing blocks back before.
            self._collect()
            self.become(extent, "free", "reserved")

    def _collect(self) -> None:
        """Ageing blocks that may be free by now, oldest first, as many as the space counts."""
        ageing = sum(state == "ageing" for state in self.blocks.values())
        while ageing > self.space.blocks_aging:
            blocks = self.order.pop(0)
            lsn, pins = self.freed[blocks[0]]
            assert lsn < self.lsn, "freed by a group that may be the last"
            assert not pins & self.pins.keys(), "pinned"
            for block in blocks:
                assert self.blocks[block] == "ageing"
                self.blocks[block] = "free"
            ageing -= len(blocks)
        assert ageing == self.space.blocks_aging

    def part(self, data: st.DataObject, state: str) -> Extent | None:
        runs = self.runs(state)
        if not runs:
            return None
        run = data.draw(st.sampled_from(runs))
        lo = data.draw(st.integers(0, run.count - 1))
        return Extent(run.block + lo, data.draw(st.integers(1, run.count - lo)))

    @rule(data=st.data(), call=st.sampled_from(["cancel", "publish", "keep"]))
    def use(self, data: st.DataObject, call: str) -> None:
        part = self.part(data, "reserved")
        if part is None:
            return
        try:
            getattr(self.space, call)(part)
        except InvalidError:
            return  # two neighbouring reservations are not one
        new = {"cancel": "free", "publish": "allocated", "keep": f"kept {part.block}"}[call]
        self.become(part, "reserved", new)

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        kept = sorted({state for state in self.blocks.values() if state.startswith("kept")})
        if kept:
            state = data.draw(st.sampled_from(kept))
            (run,) = self.runs(state)
            self.space.drop(run)
            self.become(run, state, "free")

    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        part = self.part(data, "allocated")
        if part is None:
            return
        self.space.free(part, lsn=self.lsn)
        self.become(part, "allocated", "ageing")
        blocks = list(range(part.block, part.block + part.count))
        self.order.append(blocks)
        for block in blocks:
            self.freed[block] = self.lsn, set(self.pins)

    @rule(block=st.integers(FIRST - 2, FIRST + COUNT + 2), count=st.integers(0, 10))
    def free_wrongly(self, block: int, count: int) -> None:
        states = {self.blocks.get(at) for at in range(block, block + count)}
        if states != {"allocated"}:
            with contextlib.suppress(InvalidError):
                self.space.free(Extent(block, count), lsn=self.lsn)
                raise AssertionError("a double free went through")

    @rule()
    def group_durable(self) -> None:
        self.lsn += 1
        self.space.reclaim(durable_lsn=self.lsn)
        self._collect()

    @rule()
    def pin(self) -> None:
        self.pins[self.pins_taken] = self.space.pin()
        self.pins_taken += 1

    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        if self.pins:
            number = data.draw(st.sampled_from(sorted(self.pins)))
            self.space.unpin(self.pins.pop(number))
            self._collect()

    @rule(count=st.integers(0, 30))
    def hold(self, count: int) -> None:
        available = sum(state in ("free", "reserved") for state in self.blocks.values())
        try:
            self.space.hold(count)
        except NoSpaceError:
            assert count > available
        else:
            assert count <= available
            self.space.unhold(count)

    @rule()
    def restart(self) -> None:
        kept = {state: self.runs(state) for state in self.blocks.values() if "kept" in state}
        stored = b"".join(self.space.snapshot_map().emit(pages_per_part=1))
        space_map = SpaceMap.parse(stored, first_block=FIRST, block_count=COUNT)
        self.space.load_map(space_map, kept=[run for runs in kept.values() for run in runs])
        for block, state in self.blocks.items():
            if state in ("reserved", "ageing"):
                self.blocks[block] = "free"
        self.order, self.pins = [], {}

    @invariant()
    def agrees(self) -> None:
        self.space.check()
        assert self.space.snapshot() == self.runs("allocated")
        assert self.space.blocks_free == sum(state == "free" for state in self.blocks.values())


TestSpace = SpaceMachine.TestCase
TestSpace.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
