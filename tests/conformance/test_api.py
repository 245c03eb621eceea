"""The API over any system: administration, pools, containers, snapshots, handles.

Source: DAOS src/tests/suite/daos_pool.c, daos_container.c, daos_oid_alloc.c, daos_epoch.c
"""

from __future__ import annotations

import os
import threading
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import daos

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.conftest import System


@pytest.fixture
def spare(system: System) -> Iterator[str]:
    """A small pool that the test may destroy."""
    system.admin.pool_create("spare", "64MiB")
    yield "spare"
    if any(pool.label == "spare" for pool in system.admin.pool_list()):
        system.admin.pool_destroy("spare", force=True)


class TestAdmin:
    def test_a_pool_is_listed_from_creation_to_destruction(self, system: System) -> None:
        made = system.admin.pool_create("brook", "64MiB")
        (listed,) = [pool for pool in system.admin.pool_list() if pool.label == "brook"]
        assert (listed.uuid, listed.state) == (made, "Ready")
        system.admin.pool_destroy("brook")
        assert all(pool.label != "brook" for pool in system.admin.pool_list())

    def test_a_label_is_taken_once(self, system: System) -> None:
        with pytest.raises(daos.ExistsError, match="tank"):
            system.admin.pool_create("tank", "64MiB")

    @pytest.mark.parametrize("label", ["", "a b", "x" * 128, str(uuid.UUID(int=1))])
    def test_bad_labels_are_refused(self, system: System, label: str) -> None:
        with pytest.raises(daos.InvalidError, match="label"):
            system.admin.pool_create(label, "64MiB")

    @pytest.mark.parametrize("size", ["1KiB", "-1GiB", "many", 0, -1])
    def test_bad_sizes_are_refused(self, system: System, size: str | int) -> None:
        with pytest.raises(daos.InvalidError):
            system.admin.pool_create("small", size)

    def test_a_disk_that_is_too_small_is_told_of(self, system: System) -> None:
        with pytest.raises(daos.NoSpaceError):
            system.admin.pool_create("sea", "40TiB")
        assert all(pool.label != "sea" for pool in system.admin.pool_list())

    def test_unknown_pools_and_properties(self, system: System) -> None:
        with pytest.raises(daos.NotFoundError):
            system.admin.pool_destroy("nowhere")
        with pytest.raises(daos.InvalidError, match="no_such"):
            system.admin.pool_create("brook", "64MiB", props={"no_such": 1})

    def test_a_connected_pool_is_destroyed_by_force_only(
        self, system: System, client: daos.Client, spare: str
    ) -> None:
        pool = client.pool(spare)
        with pytest.raises(daos.BusyError):
            system.admin.pool_destroy(spare)
        system.admin.pool_destroy(spare, force=True)
        with pytest.raises(daos.DaosError):
            pool.query()
        pool.close()


class TestPool:
    def test_by_label_and_by_uuid(self, client: daos.Client, pool: daos.Pool) -> None:
        for name in ("tank", pool.uuid, str(pool.uuid)):
            with client.pool(name) as again:
                assert (again.uuid, again.label) == (pool.uuid, "tank")

    def test_query(self, pool: daos.Pool) -> None:
        info = pool.query()
        assert (info.uuid, info.label, info.targets) == (pool.uuid, "tank", 4)
        assert info.ranks in (1, 2)  # the simulated system has two servers
        assert 0 < info.space.free <= info.space.total <= 512 << 20
        assert [tier.name for tier in info.space.tiers] == ["SCM", "NVMe"]
        with pytest.raises(AttributeError):
            info.label = "other"  # type: ignore[misc]  # frozen

    def test_query_targets(self, pool: daos.Pool) -> None:
        info = pool.query()
        whole = pool.query_targets(0)
        assert [each.index for each in whole] == list(range(4 // info.ranks))
        assert {(each.rank, each.state) for each in whole} == {(0, "up_in")}
        totals = [sum(tier.total for tier in each.tiers) for each in whole]
        assert sum(totals) * info.ranks == info.space.total
        assert all(0 < tier.free <= tier.total for each in whole for tier in each.tiers)
        assert [each.index for each in pool.query_targets(0, [1])] == [1]
        with pytest.raises(daos.NotFoundError, match="no rank 9; it has 0"):
            pool.query_targets(9)
        with pytest.raises(daos.NotFoundError, match=r"has targets 0 to [13], but no 4"):
            pool.query_targets(0, [1, 4])

    def test_missing_pools_and_bad_flags(self, client: daos.Client) -> None:
        with pytest.raises(daos.NotFoundError, match="nowhere"):
            client.pool("nowhere")
        with pytest.raises(daos.NotFoundError):
            client.pool(uuid.UUID(int=7))
        with pytest.raises(daos.InvalidError, match="flags"):
            client.pool("tank", flags="w")

    def test_read_only(self, client: daos.Client, pool: daos.Pool) -> None:
        with client.pool("tank", flags="r") as reader:
            assert reader.query().targets == 4
            with pytest.raises(daos.AccessError):
                reader.create_container("x")
            with pytest.raises(daos.AccessError):
                reader.attrs["a"] = b"b"
            with pytest.raises(daos.AccessError):
                reader.destroy_container("x")

    def test_exclusive(self, client: daos.Client, spare: str) -> None:
        with client.pool(spare, flags="ex") as alone:
            with pytest.raises(daos.BusyError):
                client.pool(spare)
            assert alone.query().handles == 1
        with client.pool(spare), pytest.raises(daos.BusyError):
            client.pool(spare, flags="ex")

    def test_attributes(self, client: daos.Client, pool: daos.Pool) -> None:
        pool.attrs["owner"] = b"lab"
        pool.attrs["empty"] = b""
        pool.attrs["view"] = memoryview(b"bytes")
        assert dict(pool.attrs) == {"owner": b"lab", "empty": b"", "view": b"bytes"}
        assert "owner" in pool.attrs
        with client.pool("tank", "r") as other:
            assert other.attrs["owner"] == b"lab"
        pool.attrs.clear()
        assert len(pool.attrs) == 0
        for name in ("owner", "never"):
            with pytest.raises(KeyError):
                pool.attrs[name]
        with pytest.raises(KeyError):
            del pool.attrs["owner"]
        for bad in ("", "x" * 512):
            with pytest.raises(daos.InvalidError):
                pool.attrs[bad] = b""

    def test_properties(self, pool: daos.Pool) -> None:
        assert pool.props["label"] == "tank"
        assert pool.props["rd_fac"] == "0"
        with pytest.raises(KeyError):
            pool.props["no_such"]
        with pytest.raises(daos.DaosError):
            pool.props["rd_fac"] = 1


class TestContainer:
    def test_create_open_list_destroy(self, pool: daos.Pool) -> None:
        with pool.create_container("c1", type="POSIX", props={"cksum": "crc32"}) as made:
            assert made.label == "c1"
            assert made.props["layout_type"] == "POSIX"
            assert made.props["cksum"] == "crc32"
            assert (made.uuid, "c1") in pool.containers()
            for name in ("c1", made.uuid, str(made.uuid)):
                with pool.container(name) as again:
                    assert again.uuid == made.uuid
            with pytest.raises(daos.ExistsError):
                pool.create_container("c1")
            with pytest.raises(daos.BusyError):
                pool.destroy_container("c1")
        pool.destroy_container("c1")
        with pytest.raises(daos.NotFoundError):
            pool.container("c1")
        with pytest.raises(daos.NotFoundError):
            pool.destroy_container("c1")

    def test_without_a_label_the_uuid_is_the_name(self, pool: daos.Pool) -> None:
        with pool.create_container() as made:
            assert made.label == ""
        pool.destroy_container(made.uuid)

    def test_destroyed_by_force_an_open_handle_is_stale(self, pool: daos.Pool) -> None:
        cont = pool.create_container("c1")
        kv = cont.kv()
        kv["a"] = b"1"
        pool.destroy_container("c1", force=True)
        with pytest.raises(daos.DaosError):
            kv["a"]
        cont.close()

    @pytest.mark.parametrize(
        ("label", "arguments"),
        [
            ("a b", {}),
            ("c1", {"type": "FTP"}),
            ("c1", {"props": {"no_such": "1"}}),
            ("c1", {"props": {"cksum": "crc31"}}),
            ("c1", {"type": "POSIX", "props": {"layout_type": "HDF5"}}),
        ],
    )
    def test_bad_arguments(self, pool: daos.Pool, label: str, arguments: dict[str, str]) -> None:
        before = pool.containers()
        with pytest.raises(daos.InvalidError):
            pool.create_container(label, **arguments)
        assert pool.containers() == before

    def test_query(self, cont: daos.Container) -> None:
        info = cont.query()
        assert (info.uuid, info.label, info.handles, info.snapshots) == (
            cont.uuid,
            cont.label,
            1,
            0,
        )
        epoch = cont.snapshot()
        assert cont.query().newest_snapshot == epoch

    def test_attributes(self, cont: daos.Container) -> None:
        cont.attrs.update({"a": b"1", "b": b"\0\xff"})
        assert cont.attrs.copy() == {"a": b"1", "b": b"\0\xff"}
        del cont.attrs["a"]
        assert list(cont.attrs) == ["b"]

    def test_label_can_be_changed(self, pool: daos.Pool) -> None:
        with pool.create_container("before") as cont:
            cont.props["label"] = "after"
            assert cont.props["label"] == "after"
        pool.destroy_container("after")

    def test_read_only_changes_nothing(self, pool: daos.Pool, cont: daos.Container) -> None:
        oid = cont.new_oid()
        cont.object(oid).update(b"d", b"a", b"v")
        kv_oid = cont.kv().oid
        array_oid = cont.array().oid
        with pool.container(cont.uuid, flags="r") as reader:
            assert reader.object(oid).fetch(b"d", b"a") == b"v"
            obj, kv, array = reader.object(oid), reader.kv(kv_oid), reader.array(array_oid)
            for change in (
                lambda: obj.update(b"d", b"a", b"w"),
                lambda: obj.write(b"d", b"b", 0, b"w"),
                lambda: obj.punch(),
                lambda: obj.punch_dkeys([b"d"]),
                lambda: kv.put("k", b"v"),
                lambda: kv.put_many({"k": b"v"}),
                lambda: kv.clear(),
                lambda: array.write(0, b"x"),
                lambda: array.resize(7),
                lambda: array.destroy(),
                lambda: array.open("wb"),
                lambda: reader.snapshot(),
                lambda: reader.new_oid(),
                lambda: reader.attrs.update({"a": b"b"}),
            ):
                with pytest.raises(daos.AccessError):
                    change()
        assert cont.object(oid).fetch(b"d", b"a") == b"v"

    def test_new_oids_are_unique_and_of_the_type(self, cont: daos.Container) -> None:
        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(lambda _: cont.new_oid("KV_HASHED"), range(200)))
        assert len({(oid.hi, oid.lo) for oid in made}) == 200
        assert {oid.type for oid in made} == {daos.ObjectType.KV_HASHED}
        assert daos.ObjectId.parse(str(made[0])) == made[0]

    def test_automatic_classes(self, cont: daos.Container) -> None:
        """§9.14 IO43 without redundancy: one group, or as many as there are targets."""
        groups = {
            otype: cont.object(cont.new_oid(otype)).layout().groups
            for otype in ("MULTI_HASHED", "KV_LEXICAL", "ARRAY", "ARRAY_BYTE")
        }
        assert {otype: len(found) for otype, found in groups.items()} == {
            "MULTI_HASHED": 1,
            "KV_LEXICAL": 4,
            "ARRAY": 4,
            "ARRAY_BYTE": 4,
        }
        shards = {(shard.rank, shard.target) for group in groups["ARRAY"] for shard in group}
        assert len(shards) == 4

    @pytest.mark.parametrize(
        "arguments",
        [{"otype": "NO"}, {"oclass": "S5"}, {"oclass": "S32"}, {"hints": "BIG"}],
    )
    def test_bad_types_classes_hints(self, cont: daos.Container, arguments: dict[str, str]) -> None:
        with pytest.raises(daos.InvalidError):
            cont.new_oid(**arguments)

    def test_replicated_classes_are_refused(self, cont: daos.Container) -> None:
        with pytest.raises(daos.DaosError):
            cont.object(cont.new_oid(oclass="RP_2G1"))

    def test_ids_that_were_never_generated_are_refused(self, cont: daos.Container) -> None:
        for oid in (daos.ObjectId(0, 1), daos.ObjectId(99 << 56, 1)):
            with pytest.raises(daos.InvalidError):
                cont.object(oid)

    def test_objects_lists_each_once_in_order(self, cont: daos.Container) -> None:
        assert list(cont.objects()) == []
        made = set()
        for number in range(40):
            kv = cont.kv()
            kv.put_many({f"{number}-{key}": b"v" for key in range(8)})
            made.add(kv.oid)
        cont.new_oid()  # nothing was written there
        listed = list(cont.objects())
        assert listed == sorted(made)
        pages = cont.objects()
        first = [next(pages) for _ in range(13)]
        assert first + list(cont.objects(anchor=pages.anchor)) == listed


class TestSnapshots:
    def test_a_snapshot_keeps_what_was(self, cont: daos.Container) -> None:
        kv, obj = cont.kv(), cont.object(cont.new_oid())
        kv["a"] = b"1"
        obj.write(b"d", b"a", 0, b"old")
        epoch = cont.snapshot("first")
        kv["a"] = b"2"
        kv["b"] = b"3"
        obj.write(b"d", b"a", 1, b"new")
        second = cont.snapshot()
        kv.clear()
        obj.punch()
        with cont.at(epoch) as view, cont.at("first") as same:
            assert dict(view.kv(kv.oid)) == {b"a": b"1"}
            assert view.object(obj.oid).read(b"d", b"a", 0, 5) == b"old\0\0"
            assert same.epoch == view.epoch == epoch
            assert set(view.objects()) == {kv.oid, obj.oid}
        with cont.at(second) as view:
            assert dict(view.kv(kv.oid)) == {b"a": b"2", b"b": b"3"}
            assert view.object(obj.oid).read(b"d", b"a", 0, 5) == b"onew\0"
        assert dict(kv) == {}
        assert obj.read(b"d", b"a", 0, 5) == bytes(5)

    def test_views_are_read_only(self, cont: daos.Container) -> None:
        kv = cont.kv()
        kv["a"] = b"1"
        with cont.at(cont.snapshot()) as view:
            with pytest.raises(daos.AccessError):
                view.kv(kv.oid)["a"] = b"2"
            with pytest.raises(daos.AccessError):
                view.snapshot()
        assert not cont.closed

    def test_list_and_destroy(self, cont: daos.Container) -> None:
        epochs = [cont.snapshot(name) for name in ("one", None, "two")]
        assert cont.snapshots() == list(zip(epochs, ["one", "", "two"], strict=True))
        assert epochs == sorted(set(epochs))
        with pytest.raises(daos.ExistsError):
            cont.snapshot("one")
        cont.destroy_snapshot("one")
        cont.destroy_snapshot(epochs[1])
        assert [name for _, name in cont.snapshots()] == ["two"]
        for gone in ("one", epochs[0], "never", 1):
            with pytest.raises(daos.NotFoundError):
                cont.at(gone)
            with pytest.raises(daos.NotFoundError):
                cont.destroy_snapshot(gone)
        for bad in ("", "x" * 129, 0, -1):
            with pytest.raises(daos.InvalidError):
                cont.at(bad)


class TestHandles:
    def test_closed_handles_say_which(self, pool: daos.Pool, cont: daos.Container) -> None:
        kv = cont.kv()
        other = pool.container(cont.uuid)
        obj = other.object(cont.new_oid())
        other.close()
        other.close()
        for use in (
            other.query,
            lambda: other.attrs["a"],
            lambda: obj.fetch(b"d", b"a"),
            lambda: list(obj.dkeys()),
            lambda: other.object(obj.oid),
        ):
            with pytest.raises(daos.StaleHandleError, match=cont.label):
                use()
        kv["a"] = b"1"  # another handle of the same container
        kv.close()
        with pytest.raises(daos.StaleHandleError, match="KeyValue"):
            kv["a"]

    def test_closing_a_client_closes_all_below(self, system: System) -> None:
        client = system.connect()
        pool = client.pool("tank")
        cont = pool.create_container("short")
        kv = cont.kv()
        client.close()
        client.close()
        assert pool.closed
        assert cont.closed
        assert kv.closed
        with pytest.raises(daos.DaosError) as caught:
            kv["a"] = b"1"
        assert caught.value.code in (daos.DER.NO_HDL, daos.DER.SHUTDOWN)
        with system.connect() as again, again.pool("tank") as pool:
            pool.destroy_container("short")  # nobody holds it any more

    def test_a_handle_is_closed_when_its_block_raises(self, pool: daos.Pool) -> None:
        with pytest.raises(RuntimeError), pool.create_container("short") as cont:
            raise RuntimeError("in the block")
        assert cont.closed
        pool.destroy_container("short")

    def test_calls_of_other_threads_end_when_the_client_closes(self, system: System) -> None:
        client = system.connect()
        cont = client.pool("tank").create_container("busy")
        kv = cont.kv()
        started, ends = threading.Barrier(5), []

        def work(number: int) -> None:
            started.wait()
            try:
                for index in range(100_000):
                    kv[f"{number}-{index}"] = b"v"
            except daos.DaosError as error:
                ends.append(error.code)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        started.wait()
        client.close()
        for thread in threads:
            thread.join(timeout=1)
            assert not thread.is_alive()
        assert set(ends) <= {daos.DER.CANCELED, daos.DER.SHUTDOWN, daos.DER.NO_HDL}
        with system.connect() as again, again.pool("tank") as pool:
            pool.destroy_container("busy")

    def test_in_a_forked_child(self, client: daos.Client, cont: daos.Container) -> None:
        """The system's thread stayed in the parent: calls say so, closing is quiet."""
        kv = cont.kv()
        kv["a"] = b"1"
        reader, writer = os.pipe()
        with warnings.catch_warnings():  # from Python 3.12 on: threads and fork don't mix
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            try:
                with client, cont, pytest.raises(daos.NotSupportedError) as caught:
                    kv["a"]
                os.write(writer, str(caught.value).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as told:
            assert b"forked" in told.read()
        assert os.waitpid(pid, 0)[1] == 0
        assert kv["a"] == b"1"

    def test_timeouts(self, cont: daos.Container) -> None:
        kv = cont.kv()
        for bad in (0, -1, float("nan"), "soon"):
            with pytest.raises(daos.InvalidError, match="timeout"):
                kv.put("a", b"1", timeout=bad)  # type: ignore[arg-type]  # that is the point
        # It may have left already, and then nobody can tell.
        with pytest.raises((daos.DeadlineError, daos.TxUncertainError)):
            kv.put("a", b"1", timeout=1e-9)
        kv.put("a", b"2", timeout=float("inf"))
        assert kv["a"] == b"2"
