"""A process that writes until it is killed, and says on standard output what it was told.

    kill_writer.py <directory> <seed>

    begin                            before the system is opened
    issued <key> <number> <size>     before a change; size 0 removes the key
    answered <key> <number>          after it
    snapshot <epoch> <name>          after it was taken

A line is one write to the pipe, so that the last one is whole. `content` says what a value is to
look like; both sides of the test use it.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from typing import Final

import daos

POOL: Final = "tank"
POOL_BYTES: Final = 32 << 20
CONTAINER: Final = "main"
TARGETS: Final = 2
WRITERS: Final = 3
KEYS_EACH: Final = 4
SIZES: Final = (0, 1, 100, 4095, 4096, 20_000)
OBJECT: Final = "object"  # the attribute of the container that names it


def content(number: int, size: int) -> bytes:
    return (number.to_bytes(8, "big") * (size // 8 + 1))[:size]


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def write(kv: daos.KeyValue, writer: int, rng: random.Random) -> None:
    while True:
        key = f"{writer}-{rng.randrange(KEYS_EACH)}"
        number, size = rng.getrandbits(48), rng.choice(SIZES)
        say(f"issued {key} {number} {size}")
        if size:
            kv.put(key, content(number, size))
        else:
            kv.remove(key)
        say(f"answered {key} {number}")


def take_snapshots(container: daos.Container, rng: random.Random) -> None:
    while True:
        name = f"s{rng.getrandbits(48)}"
        say(f"snapshot {container.snapshot(name)} {name}")


def open_object(container: daos.Container) -> daos.KeyValue:
    """The one of the rounds before, or else a new one."""
    name = container.attrs.get(OBJECT)
    if name is not None:
        return container.kv(daos.ObjectId.parse(name.decode()))
    kv = container.kv()
    container.attrs[OBJECT] = str(kv.oid).encode()
    return kv


def open_container(pool: daos.Pool) -> daos.Container:
    if CONTAINER in {listed.label for listed in pool.containers()}:
        return pool.container(CONTAINER)
    return pool.create_container(CONTAINER)


def main(path: str, seed: int) -> None:
    say("begin")
    rng = random.Random(seed)
    with daos.local(path, targets=TARGETS) as system:
        if not system.admin.pool_list():
            system.admin.pool_create(POOL, POOL_BYTES)
        container = open_container(system.connect().pool(POOL))
        kv = open_object(container)
        threads = [
            threading.Thread(target=write, args=(kv, writer, random.Random(rng.getrandbits(32))))
            for writer in range(WRITERS)
        ]
        threads.append(threading.Thread(target=take_snapshots, args=(container, rng)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
