"""An array of bytes: cells of 1 byte, chunks of 1 MiB; create, write, get the size, read, verify.

    python examples/arrays.py [directory]        without a directory: a temporary system

The chunks of an array lie on different targets, so a large write or read runs on all of them.

From C: daos_array_create, daos_array_write, daos_array_get_size, daos_array_read,
daos_array_set_size, daos_array_punch.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import daos

MIB = 1 << 20
PATTERN = bytes(range(256)) * 4096  # 1 MiB


def array(container: daos.Container) -> None:
    with container.array(cell_size=1, chunk_size=MIB, oclass="SX") as cells:
        print(f"created array {cells.oid}, {cells.size} bytes")

        cells.write(0, PATTERN * 4)
        cells.write(6 * MIB, PATTERN)  # leaves a hole of 2 MiB
        print(f"wrote 4 MiB at 0 and 1 MiB at 6 MiB: size {cells.size}")
        assert cells.size == 7 * MIB

        assert cells.read(0, 4 * MIB) == PATTERN * 4
        assert cells.read(4 * MIB, 2 * MIB) == bytes(2 * MIB)
        print("read them back: equal, and the hole is zero")

        # Memory of one's own: nothing is allocated, and numpy arrays do as well.
        into = bytearray(1000)
        cells.read(6 * MIB - 500, 1000, into=into)
        assert into == bytes(500) + PATTERN[:500]
        print("read 1000 bytes across the edge of the hole into a bytearray")

        cells.resize(2 * MIB)
        print(f"cut to {cells.size} bytes")
        cells.punch(0, MIB)
        assert cells.read(0, 2 * MIB) == bytes(MIB) + PATTERN
        print("punched the first MiB: zeros again, the second is untouched")

        with cells.open() as file:  # a buffered file: seek, readline, shutil.copyfileobj …
            file.seek(MIB)
            print("as a file, at 1 MiB:", list(file.read(4)))

    with_numpy(container)


def with_numpy(container: daos.Container) -> None:
    try:
        import numpy as np
    except ImportError:
        print("numpy is not installed: that part is left out")
        return
    field = np.linspace(0, 1, 100_000)
    with container.array(cell_size=field.itemsize, chunk_size=1 << 17) as cells:
        cells.write(0, field)  # from where it lies
        back = np.empty_like(field)
        cells.read(0, len(field), into=back)
        assert (back == field).all()
        print(f"numpy: {cells.size} cells of {field.itemsize} bytes, equal")


def main(directory: str | None = None) -> None:
    with daos.local(directory) as system:
        with suppress(daos.ExistsError):
            system.admin.pool_create("examples", size="256MiB")
        with (
            system.connect() as client,
            client.pool("examples") as pool,
            pool.create_container() as container,
        ):
            array(container)


if __name__ == "__main__":
    main(*sys.argv[1:])
