"""What goes wrong in a run: which faults there are at all, how often, and who brings them about.

Swarm testing: each seed draws a few kinds of faults and leaves the others out, as one kind at full
strength hides what another would have shown.

Faults come only while `Nemesis.torment` runs. `heal` takes all of them back and starts what is
down: from then on everything that was promised has to work.

Source: ours; Groce and others, "Swarm Testing", 2012; TigerBeetle's src/vopr.zig.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from daos.base.errors import DaosError
from daos.testing.history import History
from daos.testing.simcluster import Host, SimCluster
from daos.testing.simdisk import Wear
from daos.testing.simnet import PERFECT, Quality, SimNetwork

_MS: Final = 1e-3
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The faults of one seed. Rates are events a second of virtual time."""

    crashes: float = 0.0
    restarts: float = 0.0  # in order, with a checkpoint
    cuts: float = 0.0
    resets: float = 0.0
    disk_failures: float = 0.0  # then the host has to be started again
    slow_spells: float = 0.0
    map_changes: float = 0.0  # newer pool maps, with the same targets
    flips: float = 0.0  # share of reads with a wrong bit, while it serves
    skews_ns: tuple[int, ...] = (0, 0)  # of the servers
    client_skew_ns: int = 0
    quality: Quality = PERFECT
    disk_delay_s: float = 0.0  # of each step of a write: how long something is in doubt
    checkpoint_percent: int = 50

    @classmethod
    def draw(cls, rng: random.Random) -> Mix:
        """Each kind is in with a chance of its own; then how often it comes."""

        def rate(chance: float, *choices: float) -> float:
            return rng.choice(choices) if rng.random() < chance else 0.0

        skew_s = rng.choice((0.0, 0.0, 0.01, 0.3, 0.3, 3.0))  # the last is beyond what is tolerated
        return cls(
            crashes=rate(0.5, 2.0, 8.0),
            restarts=rate(0.15, 2.0),
            cuts=rate(0.25, 2.0, 6.0),
            resets=rate(0.4, 5.0, 30.0, 100.0),
            disk_failures=rate(0.15, 2.0),
            slow_spells=rate(0.2, 4.0),
            flips=rate(0.1, 0.02, 0.2),
            skews_ns=tuple(int(rng.uniform(-skew_s, skew_s) * _SECOND_NS / 2) for _ in range(2)),
            client_skew_ns=int(rng.uniform(-skew_s, skew_s) * _SECOND_NS / 2),
            quality=Quality(
                delay_s=rng.choice((0.1, 0.1, 1.0)) * _MS,
                spread_s=rng.choice((0.1, 1.0, 10.0)) * _MS,
                bandwidth=rng.choice((1e9, 1e9, 1e6)),
                reset_rate=rate(0.3, 0.002, 0.02, 0.05),
                late_rate=rng.choice((0.0, 0.5, 1.0)),
                late_s=rng.choice((5.0, 50.0)) * _MS,
                patience_s=rng.choice((0.2, 1.0)),
            ),
            disk_delay_s=rng.choice((0.05, 1.0, 5.0)) * _MS,
            checkpoint_percent=rng.choice((10, 50)),
        )

    @property
    def loses_power(self) -> bool:
        return bool(self.crashes or self.disk_failures)


class Nemesis:
    """Brings the faults of a mix about."""

    def __init__(
        self,
        cluster: SimCluster,
        network: SimNetwork,
        mix: Mix,
        rng: random.Random,
        history: History,
        *,
        change_map: Callable[[], Awaitable[int]],
    ) -> None:
        self._cluster = cluster
        self._network = network
        self._mix = mix
        self._rng = rng
        self._history = history
        self._new_map = change_map
        self._healing = False
        self._restarting: dict[asyncio.Task[None], None] = {}

    async def torment(self) -> None:
        """Until cancelled. One fault after the other, each kind at its rate."""
        mix = self._mix
        kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (mix.crashes, self._crash),
            (mix.restarts, self._restart),
            (mix.cuts, self._cut),
            (mix.resets, self._reset),
            (mix.disk_failures, self._fail_disk),
            (mix.slow_spells, self._slow),
            (mix.map_changes, self._change_map),
        ]
        kinds = [kind for kind in kinds if kind[0]]
        self._network.quality = mix.quality
        for host, skew_ns in zip(self._cluster.hosts, mix.skews_ns, strict=True):
            host.disk.wear.flip_rate = mix.flips
            host.disk.wear.delay_s = mix.disk_delay_s
            host.clock.skew_ns = skew_ns
        if not kinds:
            return
        total = sum(rate for rate, _ in kinds)
        while True:
            await asyncio.sleep(self._rng.expovariate(total))
            ((_, fault),) = self._rng.choices(kinds, [rate for rate, _ in kinds])
            await fault()

    async def heal(self) -> None:
        """Everything works again, and everybody is up."""
        self._healing = True
        self._history.note("nemesis", "heals")
        self._network.quality = PERFECT
        self._network.heal()
        for host in self._cluster.hosts:
            host.disk.wear = Wear()
            host.clock.skew_ns = 0
        for task in list(self._restarting):
            await task
        for host in self._cluster.hosts:
            if self._mix.disk_failures or host.stopping:
                host.crash()  # its devices may be poisoned; or it was about to shut down
            if not host.up:
                await host.start()

    async def _crash(self) -> None:
        host = self._pick()
        if host is not None:
            host.crash()
            self._start_later(host)

    async def _restart(self) -> None:
        host = self._pick()
        if host is None:
            return
        try:
            await host.stop()
        except DaosError as error:
            self._history.note("nemesis", f"{host.name} did not shut down well: {error}")
            host.crash()
        self._start_later(host)

    async def _cut(self) -> None:
        a, b = self._rng.sample([host.name for host in self._cluster.hosts], 2)
        if self._rng.random() < 0.5:
            b = "client0"
        ways = self._rng.choice((((a, b),), ((b, a),), ((a, b), (b, a))))
        for way in ways:
            self._network.cut(*way)
        self._history.note("nemesis", f"cuts {ways}")
        await asyncio.sleep(self._rng.choice((0.01, 0.1, 0.5, 1.5)))
        self._network.heal()
        self._history.note("nemesis", "mends the network")

    async def _reset(self) -> None:
        self._network.reset_some(self._rng.choice((0.1, 0.5, 1.0)))

    async def _fail_disk(self) -> None:
        host = self._pick()
        if host is None:
            return
        self._history.note("nemesis", f"fails the disk of {host.name}")
        name = self._rng.choice(("fail_rate", "fail_flush_rate"))
        setattr(host.disk.wear, name, self._rng.choice((0.1, 1.0)))
        await asyncio.sleep(self._rng.choice((0.005, 0.05)))
        setattr(host.disk.wear, name, 0.0)
        host.crash()
        self._start_later(host)

    async def _slow(self) -> None:
        host = self._rng.choice(self._cluster.hosts)
        before = host.disk.wear.delay_s
        host.disk.wear.delay_s = self._rng.choice((0.01, 0.1))
        self._history.note("nemesis", f"slows the disk of {host.name}")
        await asyncio.sleep(self._rng.choice((0.05, 0.3)))
        host.disk.wear.delay_s = before

    async def _change_map(self) -> None:
        try:
            version = await self._new_map()
        except DaosError as error:
            self._history.note("nemesis", f"changes the map, and not all know: {error}")
        else:
            self._history.note("nemesis", f"changes the map, to version {version}")

    def _pick(self) -> Host | None:
        """A host that runs. The services' is as likely as others."""
        up = [host for host in self._cluster.hosts if host.up]
        return self._rng.choice(up) if up else None

    def _start_later(self, host: Host) -> None:
        pause_s = self._rng.choice((0.0, 0.001, 0.05, 0.5))
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._start(host, pause_s))
        self._restarting[task] = None
        task.add_done_callback(self._restarting.pop)

    async def _start(self, host: Host, pause_s: float) -> None:
        """Start until it runs: it may fail, and be crashed again, on its way."""
        await asyncio.sleep(pause_s)
        while not host.up:
            host.disk.wear.flip_rate = 0.0  # recovery can't tell a wrong bit from a torn group
            try:
                await host.start()
            except DaosError:
                if self._healing:
                    raise
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                return  # crashed again; whoever did it starts it
            else:
                if self._mix.flips and await host.joined() and not self._healing:
                    host.disk.wear.flip_rate = self._mix.flips
