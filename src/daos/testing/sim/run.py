"""One seed, from an empty disk to a verdict.

    build --> users work, the nemesis torments --> heal --> everybody must be answered --> judge

Safety is judged from what users were told: each key's history must be linearizable, what was
acknowledged included after every crash; a snapshot never changes, shows what was there when it was
taken, and has an epoch above the ones before. The epochs of what was acknowledged are in the order
that was seen, and a snapshot shows what was written at its epoch or before, nothing else. Liveness:
after healing every call succeeds within bounded virtual time. Space: what was destroyed is free
again.

A `Result` has the digest of everything that happened: the same seed gives the same one, in any
process, under any hash seed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from daos.base.errors import DER, DaosError
from daos.client.pool import Pool
from daos.engine.rank import Engine
from daos.engine.target import Shard
from daos.testing.checkers import linear, models, space
from daos.testing.checkers.handles import is_recorded, who_knows
from daos.testing.history import History, Record
from daos.testing.sim.borrowers import Borrowing
from daos.testing.sim.churn import LABELS, POOL_LABEL, SPARE_BYTES, Churner, PoolChurner
from daos.testing.sim.faults import Mix, Nemesis
from daos.testing.sim.filler import BALLAST, Filler
from daos.testing.sim.openers import Opener
from daos.testing.sim.rot import LABEL as ROTTEN
from daos.testing.sim.rot import Rot
from daos.testing.sim.users import (
    AKEYS,
    CHUNK,
    CHUNKS,
    CONTAINER,
    DKEYS,
    KEYS,
    POOL,
    Key,
    Plan,
    SnapshotSeen,
    User,
    Violation,
    World,
)
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import DeadlockError, SimClock, StepLimitError, simulate
from daos.testing.simnet import SimNetwork

POOL_BYTES: Final = 4 * 16 << 20
# Virtual seconds: how long the users' work may take, and how soon after healing all must be well.
WORK_S: Final = 3600.0
ALIVE_S: Final = 60.0
# What the checkpoints and logs of a used pool may take more than those of a new one.
CHECKPOINTS_BYTES: Final = 4 << 20
STEPS_MAX: Final = 500_000
# Share of the runs in which somebody uses bulk memory, wrongly at times.
BORROWING: Final = 0.2
# ... and in which the pool is full at times.
FILLING: Final = 0.1
# ... in which containers, and pools, are made and destroyed beside.
CHURNING: Final = 0.25
CHURNING_POOLS: Final = 0.1
# ... in which somebody opens and closes the users' container all the time.
OPENING: Final = 0.15
# ... in which bytes of disks go bad at the end.
ROTTING: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a seed."""

    seed: int
    digest: str
    violation: str = ""  # empty: nothing was found
    story: str = ""
    calls: int = 0
    unknown: int = 0
    boots: int = 0
    resets: int = 0
    seconds: float = 0.0  # virtual
    steps: int = 0


def run_seed(seed: int, live_path: Path) -> Result:
    """Run one seed. `live_path` is for volatile files, best in memory; its own for each run."""
    run = _Run(seed, live_path)
    with _watched_log(run):
        try:
            simulate(run.main(), seed, steps_max=STEPS_MAX)
        except Violation as violation:
            return run.result(violation)
        except (DeadlockError, StepLimitError) as error:
            return run.result(Violation(f"{type(error).__name__}: {error}"))
    return run.result(None)


class Neighbour(Protocol):
    """One who works beside the users."""

    async def work(self) -> None: ...


class _Run:
    def __init__(self, seed: int, live_path: Path) -> None:
        self.seed = seed
        self.errors: list[str] = []  # what the product itself called an error
        self.bugs: list[str] = []  # exceptions that nobody caught
        self._live_path = live_path
        self._rng = random.Random(seed)
        # A generator of its own, as below: most seeds stay as they were without such changes.
        changes = random.Random(f"map of {seed}").choice((0.0, 0.0, 0.0, 3.0, 20.0))
        self.mix = replace(Mix.draw(self._rng), map_changes=changes)
        self.plan = Plan.draw(self._rng)
        # A generator of its own: what else happens is the same with a borrower and without.
        self._borrows = random.Random(~seed)
        self._rots = random.Random(f"rot of {seed}")
        neighbours = random.Random(f"neighbours of {seed}")
        self._neighbours = neighbours
        self._fills = neighbours.random() < FILLING
        self._churns = neighbours.random() < CHURNING
        self._churns_pools = neighbours.random() < CHURNING_POOLS
        self._opens = neighbours.random() < OPENING
        self._loop: Any = None
        self.history = History(lambda: self._loop.time())
        self._world = World(
            self.history,
            self.plan,
            damage=bool(self.mix.flips or self.mix.disk_failures),
            full=self._fills,
        )
        self._users: list[User] = []
        self._filler: Filler | None = None
        self._opener: Opener | None = None
        self._churners: list[Churner] = []
        self._pool_churners: list[PoolChurner] = []
        self._clocks: list[SimClock] = []
        self._cluster: SimCluster
        self._network: SimNetwork

    async def main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_exception)
        rng, mix = self._rng, self.mix
        self._network = network = SimNetwork(
            self._loop, random.Random(rng.getrandbits(64)), trace=self.history.note_host
        )
        self._cluster = cluster = SimCluster(
            self._live_path,
            random.Random(rng.getrandbits(64)),
            network=network,
            servers=len(mix.skews_ns),
            checkpoint_percent=mix.checkpoint_percent,
            note=self.history.note_host,
        )
        try:
            await self._build()
            nemesis = Nemesis(
                cluster,
                network,
                mix,
                random.Random(rng.getrandbits(64)),
                self.history,
                change_map=partial(cluster.bump_map, self._pool.uuid.bytes, seconds=0.5),
            )
            await self._torment(nemesis)
            await nemesis.heal()
            for clock in self._clocks:
                clock.skew_ns = 0
            await self._all_alive()
            await self._all_settled()
            self._judge()
            rotten = await self._rot() if self._rots.random() < ROTTING else False
            if not rotten:
                await self._empty()
            if self.bugs:
                raise Violation(self.bugs[0])
            if self.errors and not (mix.disk_failures or mix.flips or rotten):
                raise Violation(f"the system logged: {self.errors[0]}")
        finally:
            await cluster.close()

    def _on_exception(self, _loop: object, what: dict[str, Any]) -> None:
        """A call-back of the product let an exception out."""
        if "handle" in what:
            self.bugs.append(f"{what['message']}: {what.get('exception')!r}")

    async def _build(self) -> None:
        cluster, rng = self._cluster, self._rng
        await cluster.start()
        admin = cluster.admin("admin")
        await admin.pool_create(POOL, POOL_BYTES)
        skew_ns = self.mix.client_skew_ns
        first, _ = cluster.client("first")
        self._pool: Pool = await first.pool(POOL)
        self._free = (await self._pool.query()).space.free
        async with self._pool.create_container(CONTAINER):
            pass
        for number in range(self.plan.users):
            name = f"client{number}"
            client, clock = cluster.client(name)
            user = User(self._world, name, client, random.Random(rng.getrandbits(64)))
            await user.open()
            clock.skew_ns = skew_ns if number else 0
            self._users.append(user)
            self._clocks.append(clock)
        await self._build_churners()
        if self._opens:
            client, clock = cluster.client("opener")
            self._opener = Opener(
                client,
                self.history,
                self._neighbours,
                timeout_s=self.plan.timeout_s,
                damage=self._world.damage,
                who_knows=lambda handle: who_knows(self._engines(), handle),
            )
            self._clocks.append(clock)
            await self._opener.open()
        if self._fills:
            await self._build_filler()

    async def _build_churners(self) -> None:
        """Those who make and destroy; in some runs a disk has no room for another pool."""
        cluster, rng, plan = self._cluster, self._neighbours, self.plan
        for name in ("churner0", "churner1") if self._churns else ():
            client, clock = cluster.client(name)
            churner = Churner(
                name,
                client,
                self.history,
                rng,
                calls=rng.choice((4, 10)),
                timeout_s=plan.timeout_s,
                damage=self._world.damage,
            )
            await churner.open()
            self._churners.append(churner)
            self._clocks.append(clock)
        for name in ("admin0", "admin1") if self._churns_pools else ():
            admin = cluster.admin(name)
            self._pool_churners.append(
                PoolChurner(name, admin, self.history, rng, timeout_s=plan.timeout_s)
            )
        if self._churns_pools and rng.random() < 0.3:
            disk = rng.choice(cluster.hosts).disk
            disk.wear.bytes_max = disk.bytes_used + SPARE_BYTES // 4

    async def _build_filler(self) -> None:
        rng = self._neighbours
        client, clock = self._cluster.client("filler")
        filler = self._filler = Filler(client, self.history, rng, damage=self._world.damage)
        self._clocks.append(clock)
        await filler.open()
        await filler.fill()
        if not filler.refused:
            raise Violation("what a pool holds is more than its size")

    async def _torment(self, nemesis: Nemesis) -> None:
        """Until all users have done their calls."""
        others = [self._borrowing()] if self._borrows.random() < BORROWING else []
        neighbours: list[Neighbour] = [*self._churners, *self._pool_churners]
        if self._filler is not None:
            neighbours.append(self._filler)
        if self._opener is not None:
            neighbours.append(self._opener)
        torment = self._loop.create_task(nemesis.torment())
        try:
            async with asyncio.timeout(WORK_S):
                work = [user.work() for user in self._users] + [each.work() for each in others]
                await _beside(_all(work), [each.work() for each in neighbours])
        except TimeoutError:
            raise Violation(f"the users have not ended within {WORK_S:.0f} s") from None
        finally:
            torment.cancel()
            await asyncio.wait([torment])
        if not torment.cancelled() and (error := torment.exception()) is not None:
            raise error

    def _borrowing(self) -> Borrowing:
        mix = self.mix
        return Borrowing(
            self._network,
            self.history,
            self._borrows,
            calm=not (mix.resets or mix.cuts or mix.quality.reset_rate),
        )

    async def _all_alive(self) -> None:
        """Every user reads everything, and can write: the last word on what is durable, too."""
        async with _within(ALIVE_S, "somebody is not answered after healing"):
            work = [self._live(user) for user in self._users]
            if self._filler is not None:
                work.append(_until(self._filler.leave))
            work += [_until(each.leave) for each in self._pool_churners]
            await _all(work)
        self.history.note("all", "are answered")

    async def _all_settled(self) -> None:
        """No target waits for the fate of a snapshot that nobody makes any more."""
        async with _within(4 * ALIVE_S, "a target waits for the fate of a snapshot"):
            while any(shard.aggregation.pending() for shard in self._shards()):
                await _pause()
        if self._opener is not None:
            self._opener.check()
            for handle in self._opener.closed:
                if await is_recorded(self._engines()[0], self._pool.uuid.bytes, handle):
                    raise Violation("a closed handle is known to the service")

    async def _live(self, user: User) -> None:
        kinds = self.plan.kinds
        asks: list[Callable[[], Awaitable[bool]]] = []
        if "kv" in kinds:
            asks += [partial(user.get_key, user.kv, key) for key in KEYS]
        if "object" in kinds:
            asks += [partial(user.get_dkey, user.object, key) for key in DKEYS]
        if "array" in kinds:
            asks.append(partial(user.get_cells, user.array, 0, CHUNK * CHUNKS, settled=True))
        asks.append(user.put_own)
        asks += [partial(user.look_at, seen) for seen in self._world.snapshots]
        for ask in asks:
            await _until(ask)

    async def _rot(self) -> bool:
        """Damage what is durable. Whether some of it can't be opened any more."""
        client, _ = self._cluster.client("victim")
        rot = Rot(self._cluster, client, self.history, self._rots, self._world.value)
        async with _within(4 * ALIVE_S, "somebody is not answered after bit rot"):
            await rot.run()
        return rot.refused

    async def _empty(self) -> None:
        """Everything comes back: pools can be made and removed, and space is free again."""
        async with _within(4 * ALIVE_S, "space of a destroyed container does not come back"):
            for label in (CONTAINER, BALLAST, ROTTEN, *LABELS):
                await _until(partial(self._gone, label))
            await _until(self._all_free)
        for shard in self._shards():
            if fault := space.misfit(shard.meta):
                raise Violation(fault)

    async def _gone(self, label: str) -> bool:
        try:
            await self._pool.destroy_container(label, force=True)
        except DaosError as error:
            if error.code is DER.NONEXIST:
                return True
            self.history.note("first", f"destroys {label}: {error.code.name}")
        return False

    async def _all_free(self) -> bool:
        """Whether the pool says that it is as empty as at the beginning, and is."""
        try:
            info = await self._pool.query()
        except DaosError as error:
            self.history.note("first", f"queries the pool: {error.code.name}")
            return False
        if info.containers or info.space.free < self._free - CHECKPOINTS_BYTES:
            return False
        return not any(space.data_blocks(shard.meta) for shard in self._shards())

    def _engines(self) -> list[Engine]:
        return [host.engine for host in self._cluster.hosts if host.engine is not None]

    def _shards(self) -> list[Shard]:
        targets = [target for engine in self._engines() for target in engine.targets]
        return [shard for target in targets for shard in target._shards.values()]

    # --- judging

    def _judge(self) -> None:
        by_key: dict[Key, list[Record]] = {}
        for record in self.history.calls:
            by_key.setdefault(record.key, []).append(record)
        seen: dict[Key, list[SnapshotSeen]] = {}
        for snapshot in self._world.snapshots:
            for key in snapshot.shown:
                seen.setdefault(key, []).append(snapshot)
        for key in sorted(by_key, key=repr):
            self._judge_key(key, by_key[key], seen.get(key, []))
        for before, after in itertools.permutations(self._world.snapshots, 2):
            if before.end < after.begin and before.epoch >= after.epoch:
                raise Violation(f"{after.name} is later than {before.name}, its epoch is not")

    def _judge_key(self, key: Key, records: list[Record], shown: list[SnapshotSeen]) -> None:
        answers = [each.answer for each in records if each.kind == "get" and not each.unknown]
        answers += [snapshot.shown[key] for snapshot in shown]
        intervals: list[linear.Interval[Any]] = [
            linear.Interval(
                _call(record),
                record.begin,
                record.end,
                record.unknown,
                _is_pure(record),
                rank=2 * record.epoch,
            )
            for record in records
            if record.answer is not models.NO_SPACE
            if not record.unknown or (record.kind != "get" and _matters(record, answers))
        ]
        for snapshot in shown:
            call = _get(key, snapshot.shown[key])
            # Behind all that was written up to its epoch, before all that was written later.
            rank = 2 * snapshot.epoch + 1
            intervals.append(
                linear.Interval(call, snapshot.begin, snapshot.end, pure=True, rank=rank)
            )
        intervals += [_undoing(each) for each in records if _may_be_undone(each)]
        initial, step = _MODELS[str(key[0])]
        if linear.explain(intervals, initial, step) is None:
            unranked = [replace(interval, rank=0) for interval in intervals]
            if linear.explain(unranked, initial, step) is None:
                raise Violation(f"no order of the calls explains the answers about {key}", key)
            raise Violation(f"no order of the calls by their epochs explains {key}", key)

    def result(self, violation: Violation | None) -> Result:
        story = self.history.story(violation.key) if violation is not None else ""
        calls = self.history.calls
        return Result(
            seed=self.seed,
            digest=self.history.digest(),
            violation=str(violation) if violation is not None else "",
            story=story,
            calls=len(calls),
            unknown=sum(record.unknown for record in calls),
            boots=sum(host.boots for host in self._cluster.hosts),
            resets=self._network.resets,
            seconds=self._loop.time(),
            steps=self._loop.steps,
        )


def _is_pure(record: Record) -> bool:
    return record.kind == "get" or record.answer in (models.EXISTS, models.MISSING)


def _matters(unknown: Record, answers: list[object]) -> bool:
    """Whether a call of unknown outcome may have been seen by another one.

    What only writes values that nobody ever read explains nothing that could not be explained
    without it. Of a key's presence conditions tell, so those of key-values all stay.
    """
    match unknown.argument:
        case (int(), bytes() as data):
            return any(data[0] in _cells_of(answer) for answer in answers)
        case tuple() as values if all(value is not None for _, value in values):
            return any(isinstance(a, tuple) and set(a) & set(values) for a in answers)
    return True


def _may_be_undone(record: Record) -> bool:
    """Whether it made a pool, and failed: others may have seen its label for a while."""
    return record.unknown and record.kind == "insert" and record.key == ("label", POOL_LABEL)


def _undoing(record: Record) -> linear.Interval[Any]:
    call = models.ValueCall("remove", None, models.UNKNOWN)
    return linear.Interval(call, record.begin, record.end, unknown=True)


def _cells_of(answer: object) -> bytes:
    match answer:
        case (int(), bytes() as cells):
            return cells
        case bytes() as cells:
            return cells
    raise AssertionError(answer)


_MODELS: Final[dict[str, tuple[Any, linear.Step[Any, Any]]]] = {
    "kv": (None, models.value_step),
    "label": (None, models.value_step),
    "object": (tuple((akey, None) for akey in AKEYS), models.several_step),
    "array": (bytes(CHUNK), models.cells_step),
}


def _call(record: Record) -> Any:  # noqa: ANN401 - of the model that the key names
    kind = record.kind
    if kind == "get":
        return _get(record.key, record.answer)
    match record.key[0], record.argument:
        case "kv" | "label", (bytes() | None) as value:
            answer = models.UNKNOWN if record.unknown else record.answer
            return models.ValueCall(kind, value, answer)
        case "object", tuple() as values:
            return models.SeveralCall(kind, values, record.answer)
        case _, (int() as lo, bytes() as data):
            return models.CellsCall(kind, lo, data, record.answer)
    raise AssertionError(record)


def _get(key: Key, answer: object) -> Any:  # noqa: ANN401 - of the model that the key names
    match key[0], answer:
        case "kv", _:
            return models.ValueCall("get", None, answer)
        case "object", _:
            return models.SeveralCall("get", (), answer)
        case _, (int() as lo, bytes() as data):
            return models.CellsCall("get", lo, b"", data)
    return models.CellsCall("get", 0, b"", answer)


async def _until(ask: Callable[[], Awaitable[bool]]) -> None:
    while not await ask():
        await _pause()


async def _pause() -> None:
    """Before something is asked again."""
    await asyncio.sleep(0.1)


async def _all(work: Sequence[Awaitable[None]]) -> None:
    """All at once; the first error ends it, as it is."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        for task in asyncio.as_completed(tasks):
            await task
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.wait(tasks)


async def _beside(work: Awaitable[None], others: Sequence[Awaitable[None]]) -> None:
    """Until `work` is done; then others stop where they are. The first error ends it, as it is."""
    main = asyncio.ensure_future(work)
    tasks = [main, *(asyncio.ensure_future(each) for each in others)]
    try:
        while not main.done():
            await asyncio.wait(
                [task for task in tasks if not task.done()],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in tasks:
                if task.done():
                    task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def _within(seconds: float, otherwise: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Violation(f"{otherwise}, for {seconds:.0f} s") from None


@contextmanager
def _watched_log(run: _Run) -> Iterator[None]:
    """What the product calls an error is one, in a run where nothing is damaged."""

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            run.errors.append(record.getMessage())

    logger, watch = logging.getLogger("daos"), Watch(logging.ERROR)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(watch)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(watch)
        logger.propagate = propagate
        logger.setLevel(level)
