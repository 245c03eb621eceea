"""Versions and snapshots: write, freeze, overwrite; read and list both.

    python examples/snapshots.py [directory]        without a directory: a temporary system

Every write makes a new version at an epoch, a moment in time. A snapshot keeps one moment of a
whole container readable, at no cost when it is taken.

From C: daos_cont_create_snap, daos_cont_list_snap, daos_tx_open_snap, daos_cont_destroy_snap.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import daos


def snapshots(container: daos.Container) -> None:
    notes, log = container.kv(text=True), container.array()
    notes["title"] = b"first draft"
    notes["author"] = b"Ada"
    log.write(0, b"day 1: it works\n")

    epoch = container.snapshot("draft")
    print("took snapshot 'draft'")

    notes["title"] = b"final"
    notes["publisher"] = b"the lab"
    del notes["author"]
    log.write(0, b"DAY 1: IT WORKS\nday 2: shipped\n")
    print("now:  ", *(f"{key}={value.decode()!r}" for key, value in notes.items()))

    # A view is a container of its own, read-only: all that can be read can be read there.
    with container.at("draft") as then:
        old_notes, old_log = then.kv(notes.oid, text=True), then.array(log.oid)
        print("draft:", *(f"{key}={value.decode()!r}" for key, value in old_notes.items()))
        assert old_notes["title"] == b"first draft"
        assert "publisher" not in old_notes
        assert old_log.read(0, old_log.size) == b"day 1: it works\n"
        assert log.read(0, log.size) == b"DAY 1: IT WORKS\nday 2: shipped\n"
        print(f"log:   {old_log.size} bytes at the snapshot, {log.size} bytes now")
        try:
            old_notes["title"] = b"rewritten history"
        except daos.AccessError as error:
            print("refused:", error)

    container.snapshot("release")
    print("snapshots, oldest first:", *(snapshot.name for snapshot in container.snapshots()))
    container.destroy_snapshot(epoch)  # by its epoch; the name would do
    print("let go of one:", *(snapshot.name for snapshot in container.snapshots()))


def main(directory: str | None = None) -> None:
    with daos.local(directory) as system:
        with suppress(daos.ExistsError):
            system.admin.pool_create("examples", size="256MiB")
        with (
            system.connect() as client,
            client.pool("examples") as pool,
            pool.create_container() as container,
        ):
            snapshots(container)


if __name__ == "__main__":
    main(*sys.argv[1:])
