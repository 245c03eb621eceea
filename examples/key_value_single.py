"""Key-single-value objects: a record of several fields, changed all at once.

    python examples/key_value_single.py [directory]        without a directory: a temporary system

A dkey names the record, an akey each field. A single value is written and read whole.

From C: daos_obj_update and daos_obj_fetch with DAOS_IOD_SINGLE, daos_obj_list_akey,
daos_obj_punch_akeys, DAOS_COND_DKEY_INSERT.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import daos

PLANETS: dict[bytes, dict[bytes, bytes]] = {
    b"mercury": {b"moons": b"0", b"radius": b"2440 km"},
    b"earth": {b"moons": b"1", b"radius": b"6371 km", b"note": b"home"},
    b"saturn": {b"moons": b"146", b"radius": b"58232 km", b"note": b"rings"},
}


def key_value_single(container: daos.Container) -> None:
    with container.object(container.new_oid()) as planets:
        for name, fields in PLANETS.items():
            planets.update_many(name, fields)  # all fields of one dkey, or none
        print(f"stored {len(PLANETS)} planets, each in one atomic update")

        for name in planets.dkeys():
            akeys = sorted(planets.akeys(name))
            values = planets.fetch_many(name, akeys)  # as of one moment
            assert dict(zip(akeys, values, strict=True)) == PLANETS[name]
        print("read them back: equal")

        radius = planets.fetch(b"saturn", b"radius")
        assert radius is not None  # it would be None where nothing is
        print("radius of saturn:", radius.decode())
        print("bytes of that value:", planets.size(b"saturn", b"radius"))
        print("note on mercury:", planets.fetch(b"mercury", b"note"))

        planets.update(b"saturn", b"moons", b"274")  # the newest count
        moons = planets.fetch(b"saturn", b"moons")
        assert moons is not None
        print("moons of saturn:", moons.decode())

        # Conditions are checked where the data is, in the same step that writes.
        try:
            planets.update(b"earth", b"moons", b"2", cond=daos.Cond.DKEY_INSERT)
        except daos.ExistsError as error:
            print("refused:", error)

        planets.punch_akeys(b"earth", [b"note"])
        print("fields of earth:", *sorted(akey.decode() for akey in planets.akeys(b"earth")))


def main(directory: str | None = None) -> None:
    with daos.local(directory) as system:
        with suppress(daos.ExistsError):
            system.admin.pool_create("examples", size="256MiB")
        with (
            system.connect() as client,
            client.pool("examples") as pool,
            pool.create_container() as container,
        ):
            key_value_single(container)


if __name__ == "__main__":
    main(*sys.argv[1:])
