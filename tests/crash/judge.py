"""Whether a shard whose power was cut keeps what it promised; see power_cut.py for the promises.

A cut keeps them when the recovered shard is the model of some beginning of the commits, whole
groups of them, no shorter than the last Ack, and every earlier Seen is answered the same way again.
"""

from __future__ import annotations

import random
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from daos.base.errors import NotFoundError
from daos.base.ids import EPOCH_MAX, ContainerUuid
from daos.testing.devices import Image, MemoryDirectory
from daos.testing.recording import RecordingDirectory
from tests.crash.power_cut import CONFIG, DEVICE, DEVICE_BYTES, Recording, answer
from tests.model.model_workload import Choices
from tests.model.twin import FrozenClock, Shard, Twin
from tests.model.vos_model import Model, View

SEEN_CHECKED: Final = 12
DIFFERENCE_MAX: Final = 1000


class _Past(Model):
    """A model that does not change any more: what was computed once is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._views: dict[tuple[Hashable, int], View] = {}

    def view(self, obj: Hashable, epoch: int) -> View:
        view = self._views.get((obj, epoch))
        if view is None:
            view = self._views[obj, epoch] = super().view(obj, epoch)
        return view


class Judge:
    """Recovers images of a recording, and holds them against its promises."""

    def __init__(self, recording: Recording, live_path: Path) -> None:
        self.recording = recording
        self.live_path = live_path
        self._models: dict[int, dict[ContainerUuid, Model]] = {}

    async def judge(self, cut: int, images: dict[str, Image], rng: random.Random) -> None:
        """Raises AssertionError, or the store's own error, if a promise is broken."""
        directory = MemoryDirectory(images)
        device = await directory.open(DEVICE)
        shard = Shard(device, self.live_path, FrozenClock(), CONFIG)
        await shard.open()
        try:
            length = await self._length(cut, shard, rng)
            await self._check_seen(cut, shard, rng)
            for position, name, epoch in self.recording.bounds:
                if position <= cut and name in shard.pool.containers():
                    bound = shard.pool.open_container(name).modification_bound
                    assert bound >= epoch, "a snapshot's epoch is open for writes again"
            if rng.random() < 0.02:
                # A look at some places may not tell two lengths apart; the last group does.
                lsn = shard.meta.durable_lsn
                length = max(length, sum(each.lsn <= lsn for each in self.recording.commits))
                await self._go_on(cut, shard, length, rng)
        finally:
            await shard.meta.close(checkpoint=False)
            await device.close()

    async def _length(self, cut: int, shard: Shard, rng: random.Random) -> int:
        """How many commits the shard shows; it must be exactly these."""
        commits = self.recording.commits
        acks = self.recording.acks
        at_least = max((length for position, length in acks if position <= cut), default=0)
        lengths = [at_least]
        for index in range(at_least, len(commits)):
            if index + 1 == len(commits) or commits[index + 1].lsn != commits[index].lsn:
                lengths.append(index + 1)
            if len(lengths) > 4:
                break  # at most one group is in flight; the others are not on the device
        differences = []
        for length in lengths:
            try:
                await self._check_is(cut, shard, self.models(length), rng)
            except AssertionError as error:
                differences.append(
                    f"not the first {length} commits: {str(error)[-DIFFERENCE_MAX:]}"
                )
                continue
            return length
        raise AssertionError("\n".join(differences))

    def models(self, length: int) -> dict[ContainerUuid, Model]:
        """Every container after the first commits."""
        known = self._models.get(length)
        if known is not None:
            return known
        models: dict[ContainerUuid, Model] = {}
        for commit in self.recording.commits[:length]:
            if commit.op is not None:
                if commit.container in models:
                    models[commit.container].history.append(commit.op)
            elif commit.created:
                models[commit.container] = _Past()
            else:
                del models[commit.container]
        self._models[length] = models
        return models

    def _lost(self, cut: int, name: ContainerUuid) -> list[tuple[int, int]]:
        """Epochs [lo, hi) of a container that may be aggregated, or may not."""
        lost = [each for each in self.recording.lost if each.position <= cut]
        return [(each.lo, each.hi) for each in lost if each.container == name]

    async def _check_is(
        self,
        cut: int,
        shard: Shard,
        models: dict[ContainerUuid, Model],
        rng: random.Random,
    ) -> None:
        names = set(shard.pool.containers())
        assert names == set(models), f"containers {names}, expected {set(models)}"
        for name, model in models.items():
            twin = Twin(shard, shard.pool.open_container(name), model)
            assert twin.container.modification_bound >= twin.newest()
            epochs: set[int] = {EPOCH_MAX}  # so that nothing more than the model is there
            if model.history:
                at = rng.choice(model.history[-4:]).epoch
                merged = max([hi for _, hi in self._lost(cut, name)], default=0)
                model.cleared.merged = merged  # below, nobody knows which versions are left
                epochs.add(max(at, merged))
            await twin.check_all(epochs, rng)

    async def _check_seen(self, cut: int, shard: Shard, rng: random.Random) -> None:
        """The answers given last before the cut are the ones in danger; some older ones as well."""
        seen = [told for told in self.recording.seen if told.position <= cut]
        chosen = seen[-SEEN_CHECKED:] + rng.sample(seen, min(4, len(seen)))
        for position, asked, told in chosen:
            try:
                container = shard.pool.open_container(asked.container)
            except NotFoundError:
                continue  # destroyed since, as the model says too
            lost = self._lost(cut, asked.container)
            in_parts = bool(asked.akey) or any(iod.recxs for iod in asked.iods)
            if any(in_parts or lo <= asked.epoch < hi for lo, hi in lost):
                continue  # merged, the same bytes are told in other parts
            again = await answer(shard.meta, container, asked)
            assert again == told, f"told at event {position}: {asked}\n{told}\nnow {again}"

    async def judge_twice(self, cut: int, images: dict[str, Image], rng: random.Random) -> int:
        """Cut the recovery off as well, at each of its events; returns the number of images."""
        directory = RecordingDirectory(images)
        device = await directory.open(DEVICE)
        shard = Shard(device, self.live_path, FrozenClock(), CONFIG)
        await shard.open()
        await shard.meta.close(checkpoint=rng.random() < 0.5)
        journal = directory.journal
        for again in range(len(journal) + 1):
            await self.judge(cut, journal.image(again, rng), rng)
        return len(journal) + 1

    async def _go_on(self, cut: int, shard: Shard, length: int, rng: random.Random) -> None:
        """The recovered shard takes writes, and nothing that was there suffers."""
        models = self.models(length)
        choices = Choices(rng)
        for name, model in models.items():
            container = shard.pool.open_container(name)
            twin = Twin(shard, container, Model(container.modification_bound, ()))
            twin.model.history = [*model.history]
            for lo, hi in self._lost(cut, name):
                twin.model.aggregate(lo, hi)
            # Later commits that nobody can see may have fixed types and sizes of akeys.
            twin.tolerated = frozenset(("NO_PERM", "INVAL"))
            if shard.device.size_bytes < DEVICE_BYTES:
                twin.tolerated |= {"NOSPACE"}
            for _ in range(20):
                op, cond = choices.update(rng, twin.newest() + 1)
                await twin.update(op, cond)
        await shard.reopen(clean=rng.random() < 0.5)
        for name, model in models.items():
            twin = Twin(shard, shard.pool.open_container(name), model)
            if model.history:
                hi = max([hi for _, hi in self._lost(cut, name)], default=0)
                await twin.check_all({max(hi, model.history[-1].epoch)}, rng)
        await self._empty(shard)

    async def _empty(self, shard: Shard) -> None:
        """Every block that anything had comes back, so none was lost or had twice."""
        for name in list(shard.pool.containers()):
            shard.lsn = shard.pool.destroy_container(name)
        while shard.pool.gc_step(100):
            await shard.make_room()
        await shard.settle(shard.meta.lsn_last)
        assert shard.meta.space.blocks_allocated == 0
        assert shard.meta.statistics().tree_entries == 1, "something is left beside the root record"
