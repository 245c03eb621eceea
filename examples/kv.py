"""A flat key-value object: put, ask for sizes, get, verify, list, remove, list.

    python examples/kv.py [directory]        without a directory: a temporary system

It is a MutableMapping: what works with a dict works with it.

From C: daos_kv_put, daos_kv_get, daos_kv_list, daos_kv_remove.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import daos

WORDS = {"alpha": b"1", "beta": b"22", "gamma": b"333", "delta": b"", "epsilon": bytes(100_000)}


def kv(container: daos.Container) -> None:
    with container.kv(text=True) as words:  # keys come back as str, in order
        for key, value in WORDS.items():
            words[key] = value
        print(f"put {len(WORDS)} keys in key-value object {words.oid}")

        print("sizes:", *(f"{key}={words.size(key)}" for key in WORDS))
        print("size of a key that is not there:", words.size("omega"))

        for key, value in WORDS.items():
            assert words[key] == value
        print("got them back: equal")

        print(f"{len(words)} keys:", *words)
        del words["beta"]
        print(f"removed beta; {len(words)} keys:", *words)
        print("beta in it?", "beta" in words, "- and get gives", words.get("beta"))

        # Many at once go in parallel: one round trip's time, not a hundred.
        words.put_many({f"n{i:02}": b"%d" % (i * i) for i in range(100)})
        print("n90 to n94:", words.get_many([f"n{i}" for i in range(90, 95)]))
        print("from n97 on:", *words.scan(prefix="n", start="n97"))

        try:
            words.put("alpha", b"mine", cond=daos.Cond.KEY_INSERT)
        except daos.ExistsError as error:
            print("refused:", error)


def main(directory: str | None = None) -> None:
    with daos.local(directory) as system:
        with suppress(daos.ExistsError):
            system.admin.pool_create("examples", size="256MiB")
        with (
            system.connect() as client,
            client.pool("examples") as pool,
            pool.create_container() as container,
        ):
            kv(container)


if __name__ == "__main__":
    main(*sys.argv[1:])
