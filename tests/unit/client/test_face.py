"""The two faces say the same: names, parameters, defaults, texts."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from daos.client import admin, array, client, container, kv, pool, sync
from daos.client import object as multi
from daos.client.face import Face, async_of
from daos.client.session import Handle

PAIRS = [
    (admin.Admin, sync.Admin),
    (client.Client, sync.Client),
    (pool.Pool, sync.Pool),
    (container.Container, sync.Container),
    (multi.Object, sync.Object),
    (kv.KeyValue, sync.KeyValue),
    (array.Array, sync.Array),
]

# What the loop's side has for the other one.
INTERNAL = {"mark_closed", "open_object", "pool_map"}
# What only makes sense without a loop, or comes from `collections.abc`.
SYNC_ONLY = {
    "KeyValue": {"keys", "values", "pop", "popitem", "setdefault", "update", "text", "oid"},
    "Array": {"open", "oid", "cell_size"},
    "Object": {"oid"},
    "Container": {"uuid", "label", "epoch"},
    "Pool": {"uuid", "label"},
}


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("core", "face"), PAIRS)
def test_same_names(core: type, face: type) -> None:
    only = SYNC_ONLY.get(face.__name__, set())
    assert public(core) - INTERNAL == public(face) - only


@pytest.mark.parametrize(("core", "face"), PAIRS)
def test_same_parameters_and_texts(core: type, face: type) -> None:
    for name in public(core) - INTERNAL:
        there, here = getattr(core, name), getattr(face, name)
        assert here.__doc__ == there.__doc__, name
        assert there.__doc__, name
        if not isinstance(there, property):
            parameters = [
                list(inspect.signature(method).parameters.values()) for method in (there, here)
            ]
            assert parameters[0] == parameters[1], name


@pytest.mark.parametrize(("core", "face"), PAIRS)
def test_every_call_takes_a_timeout(core: type[Handle], face: type[Face[Handle]]) -> None:
    # Nothing is sent, or there is a bound of its own.
    exempt = {"close", "object", "buffer", "layout", "update_chunk_size"}
    for name in public(core) - INTERNAL - exempt:
        method = getattr(core, name)
        if not isinstance(method, property):
            parameter = inspect.signature(method).parameters["timeout"]
            assert (parameter.kind, parameter.default) == (parameter.KEYWORD_ONLY, None), name


def test_what_is_no_call_of_a_handle() -> None:
    for bad in (print, sync.Object.update, lambda: None):
        with pytest.raises(ValueError, match="no call of a handle"):
            async_of(bad)


def test_the_client_loads_no_server() -> None:
    program = (
        "import sys, daos.aio, daos.client.sync, daos.client.event; "
        "print(*[m for m in sys.modules if m.split('.')[:2] in "
        "[['daos', p] for p in ('engine', 'vos', 'bio', 'rdb', 'embedded')] "
        "or m in ('lmdb', 'numpy')])"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []
