"""The aggregation of one shard: which container is next, how far, and its steps between requests.

    tick (every 2 s, every 200 ms while space is short)
      -> a container that has something to forget -> its segments (core.py), one after the other
           -> steps, one a turn of the loop, between the requests that come
      -> all done: its aggregation record says so

A container is left alone until its service has told which snapshots there are (`protect`), and no
snapshot is accepted at or below an epoch at which an aggregation was ever begun (`begin_snapshot`):
the service draws another one. So what a snapshot shows stays from before it was handed out, whoever
was slower. While one is being made, nothing is aggregated beyond it. Its fate comes with the next
news of any snapshot: they say up to where epochs were drawn, and which of these are being made. So
a lost message is made good by any later one, and one that comes too late is refused.

Where nothing is left to do there is no tick: who writes next wakes it (`asleep`).

While space is short, and when an update found none (`make_room`), younger versions go, too, and at
once. The update comes again until nothing that was written is left to be looked at.

One pass at a time, by two ULTs of the pool's: one for ticks, one for steps, which the scheduler
slows while there is I/O, and favours while space is short (sched_core.py). No clock but the
xstream's, so that it runs the same in a simulation.

Invariants:
    D1  nothing is aggregated across a snapshot that the service has acknowledged
    D2  what the record says is done was done with the snapshots of its sum
    D3  a pass that fails leaves the record as it was, and is begun again at a later tick
Source: DAOS src/container/srv_target.c cont_aggregate_ult, ds_cont_tgt_snapshots_update.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from daos.base.errors import (
    DER,
    AgainError,
    BusyError,
    CanceledError,
    DaosError,
    InvalidError,
    StaleHandleError,
)
from daos.base.hlc import UNITS_PER_NS
from daos.base.ids import ContainerUuid, Epoch
from daos.bio.meta import MetaContext
from daos.engine.core import PRESSED_LEVEL, AggregationConfig, Reclaim, segments, sum_of
from daos.engine.members import TICKS_MAX, Member, News, Tick
from daos.engine.sched import State
from daos.engine.sched_core import RequestType, pressure_of
from daos.engine.xstream import Xstream
from daos.vos.aggregate import Aggregation
from daos.vos.container import VosContainer
from daos.vos.pool import VosPool
from daos.vos.records import AggregationRecord
from daos.vos.statistics import AggregationStatistics
from daos.vos.work import EpochRange, Want

log = logging.getLogger(__name__)

# After so many failed passes in a row the pause has doubled for the last time: 17 minutes.
_FAILURES_MAX: Final = 9


class _Pass(NamedTuple):
    """One member being aggregated up to `top`."""

    member: Member
    top: int
    snapshots: tuple[int, ...]
    rest: deque[EpochRange]
    changed_since: int


class ShardAggregation:
    """Made with its shard; `close` it before the shard."""

    def __init__(
        self,
        owner: str,
        meta: MetaContext,
        vos: VosPool,
        xstream: Xstream,
        config: AggregationConfig,
    ) -> None:
        """`owner`: of its ULTs. Raises: ShutdownError"""
        self._meta = meta
        self._vos = vos
        self._xstream = xstream
        self._config = config
        self._members: dict[ContainerUuid, Member] = {}
        self._resting: dict[ContainerUuid, News] = {}
        self._reclaim: Reclaim | None = None
        self._ticks = xstream.sched.create("aggregation ticks", owner)
        self._steps = xstream.sched.create("aggregation", owner, RequestType.GC)
        self._pass: _Pass | None = None
        self._work: Aggregation | None = None
        self._clean = True
        self._lsn_before = 0
        self._closed = False
        self.statistics = AggregationStatistics()
        self._done = AggregationStatistics()  # by the pass
        self.passes = 0
        self._failures = 0  # in a row
        self._wanted = False  # an update found no space
        # No tick is due: nothing was written since everything was aggregated.
        self.asleep = True

    # What the services tell

    def set_reclaim(self, reclaim: str) -> None:
        """The pool's property says when to aggregate. Raises: InvalidError."""
        if reclaim not in set(Reclaim):
            raise InvalidError(f"reclaim is one of {', '.join(Reclaim)}, not {reclaim!r}")
        self._reclaim = Reclaim(reclaim)
        self._set_timer()

    def protect(
        self,
        container: VosContainer,
        snapshots: Sequence[int],
        *,
        revision: int,
        making: Sequence[int] = (),
        drawn: int = 0,
    ) -> None:
        """These are the snapshots there are, ascending, as of a revision of the service's store.

        `making`: the epochs up to `drawn` that may become snapshots; it was read before the store.
        """
        member = self._member(container)
        member.hear(snapshots, revision)
        member.news.hear_making(making, drawn)
        self._set_timer()

    def protect_closed(
        self,
        uuid: ContainerUuid,
        snapshots: Sequence[int],
        *,
        revision: int,
        making: Sequence[int] = (),
        drawn: int = 0,
    ) -> None:
        """The same, of a container that nobody has open: it is opened for one pass."""
        news = self._resting.setdefault(uuid, News(epoch=self._xstream.hlc.now()))
        news.hear(snapshots, revision)
        news.hear_making(making, drawn)
        self._set_timer()

    def begin_snapshot(self, container: VosContainer, epoch: Epoch) -> None:
        """From now on nothing is aggregated across `epoch`, until `protect` has told its fate.

        Raises:     DaosError EP_OLD   that has begun already: draw a newer one; or its fate is told
        """
        if epoch <= container.aggregated:
            raise DaosError(
                f"versions up to epoch {container.aggregated} are being aggregated; "
                f"no snapshot can be made at {epoch}",
                code=DER.EP_OLD,
            )
        if not self._member(container).news.begin(epoch):
            raise DaosError(f"nobody makes a snapshot at {epoch} any more", code=DER.EP_OLD)

    def pending(self) -> list[ContainerUuid]:
        """Where something may become a snapshot, as far as is known here."""
        known = {uuid: member.news for uuid, member in self._members.items()} | self._resting
        return [uuid for uuid, news in known.items() if news.pending]

    def forget(self, uuid: ContainerUuid) -> None:
        """The container is gone."""
        self._resting.pop(uuid, None)
        member = self._members.pop(uuid, None)
        if member is not None:
            member.end_waiting(StaleHandleError(f"container {uuid} was destroyed"))
            if self._pass is not None and self._pass.member is member:
                self._drop_pass()

    def relieve(self, container: VosContainer) -> bool:
        """A key was made and removed until its history was full; whether it helps to wait."""
        member = self._members.get(container.uuid)
        if member is None or member.news.revision < 0 or self._reclaim in (None, Reclaim.DISABLED):
            return False
        if self._pass is None and not self._is_unseen(member):
            return False  # snapshots keep all of it
        container.crowded = True
        self._hurry()
        return True

    def make_room(self) -> bool:
        """An update found no space; whether some may come back, so that it helps to wait.

        False once what was freed is there, and nothing was written that no pass has looked at.
        """
        if self._closed:
            return False
        if self._meta.space.lsn_freed:
            self._meta.want_blocks()
            return True  # on its way
        if self._failures or self._reclaim in (None, Reclaim.DISABLED):
            return False
        unseen = self._resting or any(map(self._is_unseen, self._members.values()))
        if self._pass is None and not unseen:
            return False
        self._wanted = True
        self._hurry()
        return True

    def _is_unseen(self, member: Member) -> bool:
        if member.news.revision < 0:
            return False
        return member.is_written_since(member.looked)

    def _hurry(self) -> None:
        """The next tick is not far."""
        ticks = self._ticks
        if ticks.state is not State.ASLEEP or ticks.left_s > self._config.period_pressed_ns / 1e9:
            self._tick_soon(self._config.period_pressed_ns)

    async def aggregate(self, container: VosContainer, epoch: int) -> None:
        """Forget what no snapshot needs, up to `epoch` (0: now), whatever the pool's property says;
        where a snapshot is being made, up to that.

        Raises:     StaleHandleError   the container was destroyed; CanceledError: the shard closed
                    AgainError         the snapshots are not known yet
                    DaosError          what ended the pass
        """
        member = self._member(container)
        if member.news.revision < 0:
            raise AgainError("the target has not been told yet which snapshots there are")
        now = self._xstream.hlc.now()
        # A snapshot that is being made may never be settled: nobody waits for that.
        top = min([epoch or now, now, *member.news.pending])
        future: asyncio.Future[None] = self._xstream.loop.create_future()
        member.waiters.append((top, future))
        self._tick_soon()
        await future

    def close(self) -> None:
        """Stop in the middle of whatever it is; nothing is lost by that."""
        self._closed = True
        self._ticks.end()
        self._steps.end()
        self._drop_pass()
        for member in self._members.values():
            member.end_waiting(CanceledError("the shard was closed"))

    def _member(self, container: VosContainer) -> Member:
        member = self._members.get(container.uuid)
        if member is None or member.container is not container:
            member = self._members[container.uuid] = Member(container)
            news = self._resting.pop(container.uuid, None)
            if news is not None:
                member.hear(news.snapshots, news.revision)
                member.news.hear_making(news.pending, news.drawn)
        return member

    # Ticks

    def wake(self) -> None:
        """Somebody is about to write."""
        now, lsn = self._xstream.hlc.now(), self._meta.lsn_last
        for member in self._members.values():
            member.ticks.append(Tick(now, lsn - 1))
        self._set_timer()

    def _set_timer(self, delay_ns: int | None = None) -> None:
        if self._closed or self._ticks.state is State.ASLEEP:
            return
        self.asleep = False
        if delay_ns is None:
            pressed = self._is_pressed()
            delay_ns = self._config.period_pressed_ns if pressed else self._config.period_ns
            delay_ns <<= min(self._failures, _FAILURES_MAX)
        self._ticks.sleep(delay_ns / 1e9, self._tick)

    def _tick_soon(self, delay_ns: int = 0) -> None:
        self._ticks.block()
        self._set_timer(delay_ns)

    def _tick(self) -> None:
        now, lsn = self._xstream.hlc.now(), self._meta.lsn_last
        for member in self._members.values():
            # Commits to come may share the group of the last one.
            if not member.ticks or now - member.ticks[-1].epoch >= self._min_tick():
                member.ticks.append(Tick(now, lsn - 1))
        if self._pass is None:
            groups, self._lsn_before = lsn - self._lsn_before, lsn
            self._begin(now, busy=groups >= self._config.busy_groups)
        quiet = not self._resting or self._reclaim in (None, Reclaim.DISABLED)
        if self._pass is None and quiet and all(map(self._is_quiet, self._members.values())):
            self.asleep = True
            self._wanted = False
        else:
            self._set_timer()

    def _is_quiet(self, member: Member) -> bool:
        """Whether nothing is left to do until somebody writes, or the service has news."""
        if member.waiters:
            return False
        if member.news.revision < 0 or self._reclaim in (None, Reclaim.DISABLED):
            return True
        return not member.is_written_since(member.passed)

    def _min_tick(self) -> int:
        """So many ticks are kept that they reach over a gap."""
        return self._config.gap_ns * UNITS_PER_NS * 2 // TICKS_MAX

    def _is_pressed(self) -> bool:
        if self._wanted:
            return True
        return pressure_of(*self._meta.space_left()).level >= PRESSED_LEVEL

    def _begin(self, now: int, *, busy: bool) -> None:
        """Begin a pass over the first container that has something to do, and let it wait then."""
        pressed = self._is_pressed()
        for uuid, member in list(self._members.items()):
            if member.container.destroyed:
                self.forget(uuid)
                continue
            top = self._top_of(member, now, pressed=pressed, busy=busy)
            parts = segments(member.done, member.news.snapshots, top)
            if not parts:
                member.end_waiting(None, member.done)
                self._let_rest(member)
                continue
            self._members[uuid] = self._members.pop(uuid)
            since = member.changed_since(member.passed)
            self._wanted = False
            self._done = AggregationStatistics()
            self._pass = _Pass(member, top, member.news.snapshots, deque(parts), since)
            self._clean = True
            # Before the last segment begins, so that no snapshot is accepted inside of it.
            member.container.aggregated = max(member.container.aggregated, top)
            self._next_segment()
            return
        if self._resting and (self._reclaim is Reclaim.TIME or pressed or not busy):
            self._wake_one(now - self._gap(pressed=pressed))

    def _wake_one(self, top: int) -> None:
        """Open the next container at rest, if all of it can be seen to at once."""
        uuid, news = next(iter(self._resting.items()))
        if news.epoch > top or self._reclaim in (None, Reclaim.DISABLED):
            return
        try:
            self._member(self._vos.open_for_work(uuid))
        except DaosError as error:
            self.forget(uuid)
            self._vos.close_after_work(uuid)
            log.warning("container at rest stays as it is container=%s error=%s", uuid, error)
        self._hurry()

    def _gap(self, *, pressed: bool) -> int:
        """So much is left alone, in epochs."""
        config = self._config
        return (config.gap_short_ns if pressed else config.gap_ns) * UNITS_PER_NS

    def _let_rest(self, member: Member) -> None:
        """Close a container again that was opened for this, if nobody else has opened it.

        It has its turn again where there was no pass: what was written last is too young. What a
        pass that came to no end has begun with nobody but the open container knows: it stays.
        """
        uuid, container = member.container.uuid, member.container
        if container.aggregated > container.aggregation.epoch:
            return
        if not member.waiters and self._vos.close_after_work(uuid):
            del self._members[uuid]
            if not member.looked:
                self._resting[uuid] = member.news

    def _top_of(self, member: Member, now: int, *, pressed: bool, busy: bool) -> int:
        """Up to where to aggregate a container; 0: not now."""
        if member.news.revision < 0:
            return 0
        cap = min(member.news.pending, default=now)
        if member.waiters:
            return min(cap, max([wanted for wanted, _ in member.waiters]))
        if self._reclaim in (None, Reclaim.DISABLED):
            return 0
        if member.container.crowded:
            member.container.crowded = False
            return min(cap, max(0, now - self._gap(pressed=True)))
        if self._reclaim is Reclaim.LAZY and busy and not pressed:
            return 0
        gap_long, gap = self._gap(pressed=False), self._gap(pressed=pressed)
        top = min(cap, max(0, now - gap))
        if member.passed:
            if not member.is_written_since(member.passed):
                return 0
            if top - member.done < gap and not pressed:
                return 0
        elif member.done and top - member.done < (gap if not member.looked else gap_long):
            return 0  # the last pass could not see to everything
        return top

    # Steps

    def _next_segment(self) -> None:
        assert self._pass is not None
        member, _, _, rest, since = self._pass
        try:
            self._work = member.container.aggregate(
                *rest.popleft(), changed_since=since, config=self._config.work
            )
        except DaosError as error:
            self._fail(error)
            return
        self._steps.ready(self._step, self._work)

    def _step(self, work: Aggregation, error: DaosError | None = None) -> None:
        """One step, and then the turn of others."""
        if work is not self._work:
            return  # dropped
        try:
            if error is not None:
                raise error
            want = work.step()
            if want is Want.TURN:
                self._steps.ready(self._step, work)
            elif want is Want.ROOM:
                self._meta.when_room(lambda error: self._step_later(work, error))
            elif want is Want.READ:
                work.read(lambda error: self._step_later(work, error))
            else:
                self._end_segment(work)
        except DaosError as failure:
            self._fail(failure)

    def _step_later(self, work: Aggregation, error: DaosError | None) -> None:
        self._steps.ready(self._step, work, error)

    def _end_segment(self, work: Aggregation) -> None:
        assert self._pass is not None
        self.statistics.add(work.statistics)
        self._done.add(work.statistics)
        self._clean &= work.clean
        self._work = None
        if self._pass.rest:
            self._next_segment()
            return
        member, top, snapshots, _, _ = self._pass
        record = AggregationRecord(top, sum_of(snapshots, top))
        whole = record.snapshots == sum_of(member.news.snapshots, top)
        if whole and record != member.container.aggregation:
            member.container.note_aggregated(record)  # first: if it fails, the pass has
        self._pass = None
        self.passes += 1
        self._failures = 0
        if whole:  # else a snapshot was destroyed: do it again
            member.done = top
            if not self._is_worth_another():
                member.looked = top
                member.passed = top if self._clean else 0
            member.end_waiting(None, top)
        self._let_rest(member)
        if any(each.waiters for each in self._members.values()):
            self._tick_soon()

    def _is_worth_another(self) -> bool:
        """There was no room for what was to be merged, and now there is more."""
        done = self._done
        freed = done.deleted_sv + done.deleted_ev + done.merged_recs + done.trimmed_recs
        return done.no_space > 0 and freed > 0

    def _fail(self, error: DaosError) -> None:
        """What was done is done; the rest at a later tick."""
        assert self._pass is not None
        member = self._pass.member
        self._drop_pass()
        if isinstance(error, BusyError | AgainError):
            return  # a discard is in the way, or the log is full
        self._failures += 1
        member.end_waiting(error)
        if member.container.destroyed:
            self._members.pop(member.container.uuid, None)
        else:
            log.warning("aggregation ended container=%s error=%s", member.container.uuid, error)

    def _drop_pass(self) -> None:
        work, self._work, self._pass = self._work, None, None
        if work is not None:
            self.statistics.add(work.statistics)
            work.close()
