"""Hybrid logical clock: epochs that grow like time and never repeat or go back.

An epoch is a u64, counted in 1/16 ns since 2021-01-01T00:00:00Z:

    63 ............................ 18 17 ............. 0
    physical part: the clock, cut off  logical counter

One physical step is 2**18 units = 16.384 µs; the range ends in 2057. Within a step, and whenever
the clock of the host stands still or goes back, the counter advances alone (and carries into the
physical part after 262,144 epochs).

    H1  every epoch that `now` or `observe` returns is greater than all before it
    H2  it is greater than every epoch that `observe` accepted or `raise_to` was given
    H3  a remote epoch whose physical part is ahead of the local clock by more than epsilon changes
        nothing and raises: one broken clock must not drag a system into the future
    H4  an event whose epoch is greater than `bound(e)` happened after the event of epoch e, on
        whatever host, as long as clocks differ by no more than epsilon

The clock is an argument, nothing here waits. One instance per process and thread; it is not
thread-safe.

Source: DAOS src/cart/crt_hlc.c; Kulkarni et al., "Logical Physical Clocks", 2014
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from daos.base.errors import HlcSyncError, InvalidError
from daos.base.ids import EPOCH_MAX, Epoch

if TYPE_CHECKING:
    from daos.base.clock import Clock

START_UNIX_NS: Final = 1_609_459_200 * 1_000_000_000  # 2021-01-01T00:00:00Z
UNITS_PER_NS: Final = 16
LOGICAL_MASK: Final = (1 << 18) - 1
EPSILON_NS: Final = 1_000_000_000


def epoch_from_unix_ns(unix_ns: int) -> Epoch:
    """The epoch of a moment, exact to the nanosecond: its low bits are time, not a counter.

    Raises:     InvalidError   the moment is before 2021 or after 2057
    """
    epoch = (unix_ns - START_UNIX_NS) * UNITS_PER_NS
    if not 0 <= epoch <= EPOCH_MAX:
        raise InvalidError(f"time {unix_ns} ns is outside the range of epochs, 2021 to 2057")
    return Epoch(epoch)


def unix_ns_from_epoch(epoch: Epoch) -> int:
    """The moment of an epoch, Unix nanoseconds, rounded down."""
    return epoch // UNITS_PER_NS + START_UNIX_NS


class Hlc:
    """The clock of one process. See the module for what it guarantees.

    Units:      epsilon_ns is rounded up to a whole physical step
    """

    __slots__ = ("_epsilon", "_last", "_now_ns")

    def __init__(self, clock: Clock, *, epsilon_ns: int = EPSILON_NS) -> None:
        if epsilon_ns < 0:
            raise InvalidError(f"epsilon_ns must not be negative, got {epsilon_ns}")
        self._now_ns = clock.now_ns
        self._epsilon = (epsilon_ns * UNITS_PER_NS + LOGICAL_MASK) & ~LOGICAL_MASK
        self._last = 0

    @property
    def epsilon(self) -> int:
        """The tolerated difference of clocks, in units of epochs; a multiple of 2**18."""
        return self._epsilon

    def now(self) -> Epoch:
        """A new epoch: the clock's if its physical part has advanced, else the previous one + 1.

        Raises:     HlcSyncError   no epoch is left: the range of the format is used up
        Source:     DAOS src/cart/crt_hlc.c d_hlc_get
        """
        units = (self._now_ns() - START_UNIX_NS) * UNITS_PER_NS & ~LOGICAL_MASK
        epoch = self._last + 1
        if units > epoch:  # a clock before 2021 counts as standing still
            epoch = units
        if epoch >= EPOCH_MAX:
            return self._advance(epoch)
        self._last = epoch
        return epoch  # type: ignore[return-value]  # an Epoch, without the call

    def observe(self, remote: Epoch) -> Epoch:
        """A new epoch, later than `remote` as well. Call it with every epoch a message carries.

        What this clock has itself given out, or recovered, is never too far ahead: a host whose
        clock was set back goes on talking to itself.

        Raises:     HlcSyncError   `remote` is ahead by more than epsilon; nothing changed
        Source:     DAOS src/cart/crt_hlc.c d_hlc_get_msg
        """
        physical = self._physical()
        ahead = (remote & ~LOGICAL_MASK) - physical
        if ahead > self._epsilon and remote > self._last:
            raise HlcSyncError(
                f"epoch {remote:#x} is {ahead // UNITS_PER_NS} ns ahead of this host, "
                f"more than the {self._epsilon // UNITS_PER_NS} ns tolerated"
            )
        return self._advance(max(self._last + 1, remote + 1, physical))

    def bound(self, epoch: Epoch) -> Epoch:
        """The last epoch that any host may have given to an event before that of `epoch`.

        Source:     DAOS src/cart/crt_hlc.c d_hlc_epsilon_get_bound
        """
        return Epoch(min((epoch + self._epsilon) | LOGICAL_MASK, EPOCH_MAX))

    def raise_to(self, epoch: Epoch) -> None:
        """Never return `epoch` or anything below it again; for recovery, which trusts its log.

        Unlike `observe`, it does not compare with the clock: what is stored has happened.

        Raises:     InvalidError   not an epoch below EPOCH_MAX
        """
        if not 0 <= epoch < EPOCH_MAX:
            raise InvalidError(f"cannot raise the clock to {epoch:#x}")
        self._last = max(self._last, epoch)

    def _physical(self) -> int:
        units = (self._now_ns() - START_UNIX_NS) * UNITS_PER_NS
        return max(units & ~LOGICAL_MASK, 0)  # a clock before 2021 counts as standing still

    def _advance(self, epoch: int) -> Epoch:
        if epoch >= EPOCH_MAX:  # EPOCH_MAX itself means "latest" in requests
            raise HlcSyncError("no epoch is left: the clock of this host is at its end, 2057")
        self._last = epoch
        return Epoch(epoch)
