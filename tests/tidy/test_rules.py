"""The rules bite: small violating modules, and their lawful neighbours."""

from __future__ import annotations

import pytest

from tests.tidy import layers, rules
from tests.tidy.tree import Module


def module(inside: str, text: str) -> Module:
    return Module(f"src/daos/{inside}", text)


def said(findings: object) -> list[str]:
    """Findings without their `path:line: `."""
    return [finding.split(": ", 1)[1] for finding in findings]  # type: ignore[attr-defined]


class TestLayers:
    def test_upward(self) -> None:
        text = "from daos.dtx import leader\nimport daos.object.server\nfrom daos import engine\n"
        got = said(layers.packages_above(module("vos/tree.py", text)))
        assert set(got) == {f"vos may not import {name}" for name in ("dtx", "object", "engine")}

    def test_neighbour(self) -> None:
        got = said(layers.packages_above(module("cart/a.py", "import daos.placement\n")))
        assert got == ["cart may not import placement"]

    def test_own_package_and_lower_rows(self) -> None:
        text = "from daos.vos.keys import x\nfrom . import keys\nfrom daos.bio import meta\n"
        assert not list(layers.packages_above(module("vos/a.py", text)))

    def test_relative_import_out_of_the_package(self) -> None:
        assert said(layers.packages_above(module("bio/a.py", "from ..vos import pool\n"))) == [
            "bio may not import vos"
        ]
        assert said(
            layers.packages_above(module("bio/__init__.py", "from ..vos import pool\n"))
        ) == ["bio may not import vos"]

    def test_types_count_too(self) -> None:
        text = (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from daos.vos import pool\n"
        )
        assert said(layers.packages_above(module("bio/a.py", text))) == ["bio may not import vos"]

    def test_the_product_does_not_import_its_fakes(self) -> None:
        (got,) = layers.packages_above(module("bio/a.py", "import daos.testing.devices\n"))
        assert "daos.testing is for tests" in got
        assert not list(layers.packages_above(module("testing/a.py", "import daos.embedded\n")))

    def test_unknown_package(self) -> None:
        (got,) = layers.packages_above(module("utils/a.py", ""))
        assert "package utils is in no row" in got

    def test_the_public_face(self) -> None:
        eager = module("__init__.py", "from daos.embedded import local\n")
        lazy = module("__init__.py", "def local():\n    from daos.embedded import local\n")
        assert said(layers.packages_above(eager)) == ["daos may not import embedded"]
        typed = module("aio.py", "if TYPE_CHECKING:\n    from daos.embedded import local\n")
        assert not list(layers.packages_above(lazy))
        assert not list(layers.packages_above(typed))
        (got,) = layers.packages_above(module("client/pool.py", "from daos import aio\n"))
        assert "may not import the face" in got


class TestLightClient:
    def test_chain_is_told(self) -> None:
        tree = [
            module("client/a.py", "from daos.object import client\n"),
            module("object/client.py", "from daos.object.shared import x\n"),
            module("object/shared.py", "def f():\n    from daos.vos import pool\n"),
            module("vos/pool.py", ""),
        ]
        findings = list(layers.heavy_clients(tree))
        assert len(findings) == 2  # both clients
        assert "daos.object.client -> daos.object.shared -> daos.vos.pool" in findings[0]

    def test_init_of_a_package_counts(self) -> None:
        tree = [
            module("pool/client.py", "import daos.pool.wire\n"),
            module("pool/wire.py", ""),
            module("pool/__init__.py", "from daos.pool import server\n"),
            module("pool/server.py", "from daos.rdb import interface\n"),
            module("rdb/interface.py", ""),
        ]
        (got,) = layers.heavy_clients(tree)
        assert "reaches daos.rdb.interface" in got

    def test_types_do_not_load(self) -> None:
        text = (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from daos.vos import pool\n"
        )
        assert not list(
            layers.heavy_clients([module("pool/client.py", text), module("vos/pool.py", "")])
        )


def test_dead_modules() -> None:
    tree = [
        module("bio/a.py", "from daos.bio.b import f\n"),
        module("bio/b.py", "import daos.bio.b\n"),
        module("bio/c.py", "import daos.bio.c\n"),
        module("cli/dmg.py", "from daos.bio import a\n"),
        module("testing/fake.py", ""),
        module("testing/alone.py", "import daos.testing.alone\n"),
        Module("tests/unit/test_x.py", "import daos.testing.fake\nimport daos.bio.c\n"),
    ]
    got = [finding.partition(":")[0] for finding in layers.dead_modules(tree)]
    assert got == ["src/daos/bio/c.py", "src/daos/testing/alone.py"]


class TestPurity:
    @pytest.mark.parametrize("top", sorted(rules.IMPURE))
    def test_impure_core(self, top: str) -> None:
        (got,) = said(rules.impure(module("dtx/core.py", f"import {top}\n")))
        assert got.startswith(f"a pure module imports {top}")
        assert not list(rules.impure(module("dtx/server.py", f"import {top}\n")))

    def test_listed_files_and_packages(self) -> None:
        for inside in ("bio/space.py", "placement/jump.py", "vos/ilog.py"):
            assert list(rules.impure(module(inside, "from time import time_ns\n"))), inside

    def test_uuid_as_a_type(self) -> None:
        assert not list(rules.impure(module("pool/wire.py", "from uuid import UUID\n")))
        assert list(rules.impure(module("pool/wire.py", "from uuid import UUID, uuid4\n")))

    def test_awaits_and_files(self) -> None:
        text = "async def f():\n    await g()\n    open('x')\n"
        assert len(list(rules.impure(module("pool/core.py", text)))) == 3
        assert len(list(rules.vos_is_synchronous(module("vos/update.py", text)))) == 3
        assert not list(rules.vos_is_synchronous(module("bio/meta.py", text)))


BANNED = {
    "import time\ntime.time()\n": "time.time",
    "import time as t\nt.sleep(1)\n": "time.sleep",
    "from time import monotonic_ns as now\nf(clock=now)\n": "time.monotonic_ns",
    "import time\ntime.perf_counter()\n": "time.perf_counter",
    "import random\nrandom.choice([1])\n": "random.choice",
    "from random import shuffle\nshuffle([])\n": "random.shuffle",
    "from uuid import uuid4\nuuid4()\n": "uuid.uuid4",
    "import uuid\nuuid.uuid1()\n": "uuid.uuid1",
    "import os\nos.environ['HOME']\n": "os.environ",
    "import os\nos.getenv('HOME')\n": "os.getenv",
    "import pickle\n": "pickle",
    "from pickle import loads\n": "pickle",
    "print('x')\n": "print",
    "from datetime import datetime\ndatetime.now()\n": "datetime.datetime.now",
    "import datetime\ndatetime.datetime.now()\n": "datetime.datetime.now",
    "import os\nos.fsync(3)\n": "os.fsync",
}


@pytest.mark.parametrize(("text", "name"), BANNED.items(), ids=BANNED.values())
def test_banned(text: str, name: str) -> None:
    (got,) = said(rules.banned_names(module("vos/a.py", text)))
    assert got.startswith(f"{name} is banned")
    assert "; " in got, "says what to do instead"


def test_banned_names_where_they_belong() -> None:
    for inside, text in {
        "base/clock.py": "import time\ntime.monotonic_ns()\n",
        "base/rng.py": "import random\nRng = random.Random\nr = random.Random(1)\nr.choice([1])\n",
        "bio/a.py": "import os\nos.fsync(3)\n",
        "cli/a.py": "import os\nprint(os.environ)\n",
        "embedded/a.py": "import random\nrng = random.SystemRandom()\n",
        "vos/b.py": "def f(time):\n    return time.time\n",
    }.items():
        assert not list(rules.banned_names(module(inside, text))), inside


class TestTasks:
    @pytest.mark.parametrize(
        "text",
        [
            "asyncio.create_task(f())",
            "loop.create_task(f())",
            "asyncio.get_running_loop().create_task(f())",
            "asyncio.ensure_future(f())",
            "task = asyncio.create_task(f())",
        ],
    )
    def test_ownerless(self, text: str) -> None:
        body = f"import asyncio\nasync def g(loop):\n    {text}\n"
        assert len(list(rules.ownerless_tasks(module("cart/a.py", body)))) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "group.create_task(f())",
            "self._group.create_task(f())",
            "self._task = asyncio.create_task(f())",
            "tasks.add(asyncio.create_task(f()))",
            "task = asyncio.create_task(f())\n    tasks.add(task)",
        ],
    )
    def test_owned(self, text: str) -> None:
        body = f"import asyncio\nasync def g(self, group, tasks):\n    {text}\n"
        assert not list(rules.ownerless_tasks(module("cart/a.py", body)))


class TestHandlers:
    @pytest.mark.parametrize("kind", ["Exception", "BaseException", "(OSError, Exception)", ""])
    def test_swallowing(self, kind: str) -> None:
        text = f"try:\n    f()\nexcept {kind}:\n    log()\n"
        assert len(list(rules.broad_handlers(module("vos/a.py", text)))) == 1

    def test_compensating(self) -> None:
        text = "try:\n    f()\nexcept BaseException:\n    undo()\n    raise\nexcept OSError: ...\n"
        assert not list(rules.broad_handlers(module("vos/a.py", text)))

    def test_suppress(self) -> None:
        text = "import contextlib\nwith contextlib.suppress(Exception):\n    f()\n"
        assert len(list(rules.broad_handlers(module("vos/a.py", text)))) == 1


class TestSizes:
    LONG = "def f():\n" + "    x = 1\n" * 60

    def test_long_function(self) -> None:
        (got,) = said(rules.oversize(module("vos/a.py", self.LONG), {}))
        assert got == "f lines: 61, at most 60; split it"

    def test_long_module(self) -> None:
        (got,) = said(rules.oversize(module("vos/a.py", "x = 1\n" * 601), {}))
        assert got == "module lines: 601, at most 600; split it"

    def test_positional_parameters(self) -> None:
        fine = "def f(self, a, b, c, d, e): ...\ndef h(a, *, b, c, d, e, f): ...\n"
        text = fine + "def g(a, b, c, d, e, f): ...\n"
        (got,) = said(rules.oversize(module("vos/a.py", text), {}))
        assert got == "g positional parameters: 6, at most 5; split it"

    def test_ratchet(self) -> None:
        long = module("vos/a.py", self.LONG)
        what = "src/daos/vos/a.py f lines"
        assert not list(rules.oversize(long, {what: 61}))
        longer = module("vos/a.py", self.LONG + "    x = 1\n")
        assert len(list(rules.oversize(longer, {what: 61}))) == 1
        assert not list(rules.stale_baseline([long], {what: 61}))
        (got,) = rules.stale_baseline([long], {what: 70})
        assert "lower its line" in got
        (got,) = rules.stale_baseline([module("vos/a.py", "")], {what: 61})
        assert "remove the line" in got
