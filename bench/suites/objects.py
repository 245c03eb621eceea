"""Updates and fetches of single values, 100 B and 4 KiB, 1, 16 and 64 in flight.

    floor      the same by `bench.floor`: two processes, nothing but the work itself
    no flush   the store on its disk, with the flushes left out: what the floor does not do either
    flushed    as it is; at depth 1 the limit is the disk's write + flush of 4 KiB, at 64 the design
               allows for 64 updates the time of (write 256 KiB + flush) + 64 x 25 µs
    cached     blocks in the page cache; cold: not there, the limit is random reads of as many threads

Rounds of floor and store alternate, so that a neighbour's load hits both; the best of each counts.
Rows "by call-back" are `daos.object`'s; `daos.aio` adds a task and the handle's bookkeeping.
"""
from bench.run import Run


def run(run: Run) -> None:
    pass
