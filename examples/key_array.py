"""Key-array objects: ten dkeys with an array value each; one is punched, nine are left.

    python examples/key_array.py [directory]        without a directory: a temporary system

From C: daos_obj_update, daos_obj_fetch, daos_obj_list_dkey, daos_obj_punch_dkeys.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import daos

DKEYS = 10
VALUES = 64  # in the array of each dkey
VALUE_SIZE = 8  # bytes: the record size of the array


def key_array(container: daos.Container) -> None:
    oid = container.new_oid(oclass="SX")  # spread over all targets
    with container.object(oid) as obj:
        print(f"object {oid} of class SX in {len(obj.layout().groups)} groups")

        for day in range(DKEYS):
            obj.write(dkey(day), b"temperature", 0, series(day), record_size=VALUE_SIZE)
        print(f"wrote {DKEYS} dkeys, {VALUES} records of {VALUE_SIZE} bytes each")

        for day in range(DKEYS):
            data = obj.read(dkey(day), b"temperature", 0, VALUES, record_size=VALUE_SIZE)
            assert data == series(day)
        print("read them back: equal")

        # Any range of records is as good as the whole; what was never written reads as zeros.
        part = obj.read(dkey(3), b"temperature", 62, 4, record_size=VALUE_SIZE)
        assert part == series(3)[62 * VALUE_SIZE :] + bytes(2 * VALUE_SIZE)
        print("read records 62 to 65 of day-3: two values, two zeros")

        print(f"{len(list(obj.dkeys()))} dkeys:", *sorted(name.decode() for name in obj.dkeys()))
        obj.punch_dkeys([dkey(7)])
        print(f"punched day-7; {len(list(obj.dkeys()))} dkeys are left")


def dkey(day: int) -> bytes:
    return b"day-%d" % day


def series(day: int) -> bytes:
    """The values of one day, as bytes; a numpy array would do as well."""
    return b"".join((1000 * day + n).to_bytes(VALUE_SIZE, "little") for n in range(VALUES))


def main(directory: str | None = None) -> None:
    with daos.local(directory) as system:
        with suppress(daos.ExistsError):
            system.admin.pool_create("examples", size="256MiB")
        with (
            system.connect() as client,
            client.pool("examples") as pool,
            pool.create_container() as container,
        ):
            key_array(container)


if __name__ == "__main__":
    main(*sys.argv[1:])
