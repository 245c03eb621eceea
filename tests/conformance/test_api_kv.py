"""The API over any system: flat key-values, and event queues on top.

Source: DAOS src/tests/suite/daos_kv.c, daos_obj_array.c (ARRAY19); internals §9.17
"""

from __future__ import annotations

import random
import threading
from itertools import islice

import pytest

import daos
from daos import Cond


@pytest.fixture
def kv(cont: daos.Container) -> daos.KeyValue:
    return cont.kv()


class TestMapping:
    def test_it_is_a_mapping(self, kv: daos.KeyValue) -> None:
        assert not kv
        kv["a"] = b"1"
        kv[b"b"] = b"2"
        assert kv
        assert (kv[b"a"], kv["b"]) == (b"1", b"2")
        assert ("a" in kv, "c" in kv) == (True, False)
        assert (len(kv), list(kv), dict(kv)) == (2, [b"a", b"b"], {b"a": b"1", b"b": b"2"})
        assert list(kv.items()) == [(b"a", b"1"), (b"b", b"2")]
        assert list(kv.values()) == [b"1", b"2"]
        assert list(kv.keys()) == [b"a", b"b"]
        assert b"2" in kv.values()
        assert kv == {b"a": b"1", b"b": b"2"}
        assert kv.pop("a") == b"1"
        assert kv.pop("a", None) is None
        kv.update({"c": b"3"}, d=b"4")
        assert kv.setdefault("c", b"5") == b"3"
        del kv["b"]
        assert dict(kv) == {b"c": b"3", b"d": b"4"}
        kv.clear()
        assert list(kv) == []
        kv["a"] = b"again"
        assert dict(kv) == {b"a": b"again"}

    def test_missing_keys(self, kv: daos.KeyValue) -> None:
        for use in (
            lambda: kv["none"],
            lambda: kv.__delitem__("none"),
            lambda: kv.pop("none"),
            lambda: kv.get_into("none", bytearray(1)),
        ):
            with pytest.raises(KeyError) as caught:
                use()
            assert isinstance(caught.value, daos.KeyNotFoundError)
            assert "none" in str(caught.value)
        assert kv.get("none") is None
        assert kv.get("none", b"else") == b"else"
        assert kv.size("none") == 0
        kv.remove("none")

    @pytest.mark.parametrize("bad", ["", b""])
    def test_empty_keys_are_refused(self, kv: daos.KeyValue, bad: str) -> None:
        for use in (
            lambda: kv.put(bad, b"v"),
            lambda: kv[bad],
            lambda: kv.get(bad),
            lambda: kv.remove(bad),
            lambda: bad in kv,
            lambda: kv.put_many({"good": b"1", bad: b"2"}),
        ):
            with pytest.raises(daos.InvalidError):
                use()
        assert list(kv) == []

    def test_other_keys_and_values_are_refused(self, kv: daos.KeyValue) -> None:
        for bad in (None, 1.5, ("a",)):
            with pytest.raises(daos.InvalidError):
                kv[bad] = b"v"  # type: ignore[index]  # that is the point
        for bad in (None, 5, "text"):
            with pytest.raises(daos.InvalidError):
                kv["a"] = bad  # type: ignore[assignment]  # as above

    def test_conditions(self, kv: daos.KeyValue) -> None:
        """In the order of the reference's test."""
        for value in (b"value", b""):
            into = bytearray(b"untouched")
            with pytest.raises(daos.KeyNotFoundError):
                kv.get("k", cond=Cond.KEY_GET)
            with pytest.raises(daos.KeyNotFoundError):
                kv.get_into("k", into)
            assert into == b"untouched"
            with pytest.raises(daos.NotFoundError):
                kv.put("k", value, cond=Cond.KEY_UPDATE)
            kv.put("k", value, cond=Cond.KEY_INSERT)
            with pytest.raises(daos.ExistsError):
                kv.put("k", value, cond=Cond.KEY_INSERT)
            assert kv.get("k", cond=Cond.KEY_GET) == value
            assert ("k" in kv, kv.size("k")) == (True, len(value))
            kv.put("k", value, cond=Cond.KEY_UPDATE)
            with pytest.raises(daos.KeyNotFoundError):
                kv.remove("other", cond=Cond.KEY_REMOVE)
            kv.remove("k", cond=Cond.KEY_REMOVE)
            assert "k" not in kv

    def test_into_memory_of_the_caller(self, kv: daos.KeyValue) -> None:
        kv["k"] = b"value"
        with pytest.raises(daos.RecordTooBigError, match="5 bytes"):
            kv.get_into("k", bytearray(4))
        exact, large = bytearray(5), bytearray(b"........")
        assert kv.get_into("k", exact) == 5
        assert kv.get_into("k", large) == 5
        assert (exact, large) == (b"value", b"value...")

    @pytest.mark.parametrize("nbytes", [1, 100, 4095, 4096, 100_000, 3 << 20])
    def test_sizes_of_values(self, kv: daos.KeyValue, nbytes: int) -> None:
        value = random.Random(nbytes).randbytes(nbytes)
        kv["k"] = value
        assert kv["k"] == value
        assert kv.size("k") == nbytes

    def test_text(self, cont: daos.Container) -> None:
        kv = cont.kv(text=True)
        kv["grün"] = b"1"
        kv[b"\xff"] = b"2"  # no UTF-8
        assert list(kv) == ["grün", "\udcff"]
        assert [kv[key] for key in kv] == [b"1", b"2"]
        assert list(cont.kv(kv.oid)) == ["grün".encode(), b"\xff"]

    def test_opened_again_by_its_id(self, cont: daos.Container) -> None:
        kv = cont.kv()
        kv["a"] = b"1"
        assert cont.kv(kv.oid)["a"] == b"1"
        with pytest.raises(daos.InvalidError, match="MULTI_HASHED"):
            cont.kv(cont.new_oid())
        with pytest.raises(daos.InvalidError, match="ARRAY"):
            cont.kv(cont.array().oid)

    @pytest.mark.parametrize("otype", ["KV_HASHED", "KV_LEXICAL"])
    @pytest.mark.parametrize("oclass", ["S1", "SX"])
    def test_types_and_classes(self, cont: daos.Container, otype: str, oclass: str) -> None:
        kv = cont.kv(cont.new_oid(otype, oclass))
        model = {b"%d" % number: b"%d" % (number * number) for number in range(100)}
        kv.put_many(model)
        assert dict(kv) == model
        if otype == "KV_HASHED":
            with pytest.raises(daos.InvalidError, match="order"):
                kv.scan(start=b"5")

    def test_integer_keys(self, cont: daos.Container) -> None:
        kv = cont.kv(cont.new_oid("KV_UINT64"))
        for key in (300, 2, 2**64 - 1, 1):
            kv[key] = b"%d" % key
        assert list(kv) == [1, 2, 300, 2**64 - 1]
        assert list(kv.scan(start=3)) == [300, 2**64 - 1]
        assert kv[(2).to_bytes(8, "little")] == b"2"
        with pytest.raises(daos.InvalidError):
            kv["text"] = b"v"

    def test_against_a_dict(self, kv: daos.KeyValue) -> None:
        rng, model = random.Random(3), dict[bytes, bytes]()
        for _ in range(300):
            key = b"%d" % rng.randrange(40)
            match rng.randrange(4):
                case 0 | 1:
                    kv[key] = model[key] = rng.randbytes(rng.choice((0, 5, 5000)))
                case 2:
                    kv.remove(key)
                    model.pop(key, None)
                case 3:
                    assert kv.get(key) == model.get(key)
        assert dict(kv) == model
        assert list(kv) == sorted(model)


class TestMany:
    def test_put_get_list_remove(self, kv: daos.KeyValue) -> None:
        keys = [b"key %04d" % number for number in range(2100)]
        kv.put_many((key, key * 100) for key in keys)
        kv[keys[-1]] = b"\0\0\0\4"
        assert list(kv) == keys
        assert kv.get_many([*keys[5:8], b"none"]) == {
            **{key: key * 100 for key in keys[5:8]},
            b"none": None,
        }
        for key in keys[:10]:
            kv.remove(key)
        assert len(kv) == 2090
        assert sum(len(value) for value in kv.values()) == 2089 * 800 + 4

    def test_scan(self, kv: daos.KeyValue) -> None:
        keys = sorted(b"%s/%d" % (part, number) for part in (b"a", b"b") for number in range(600))
        kv.put_many(dict.fromkeys(keys, b""))
        assert list(kv.scan(prefix="b/")) == keys[600:]
        assert list(kv.scan(start="a/599")) == [key for key in keys if key >= b"a/599"]
        assert list(kv.scan("b/", b"b/5")) == [key for key in keys if key >= b"b/5"]
        assert [key for key, _ in kv.items("b/", "b/98")] == [b"b/98", b"b/99"]
        assert list(kv.scan(prefix="c")) == []
        assert list(kv.scan(reverse=True)) == list(reversed(kv)) == keys[::-1]
        assert list(kv.scan("a/", "a/10", reverse=True)) == [b"a/10", b"a/1", b"a/0"]
        assert list(kv.scan("b/", "a/5")) == keys[600:]
        assert list(kv.scan("a/", "b/5")) == list(kv.scan("b/", "a/5", reverse=True)) == []
        pages, found = kv.scan(), []
        while part := list(islice(pages, 100)):
            found += part
            pages = kv.scan(anchor=pages.anchor)
        assert found == keys

    def test_the_first_error_stops_the_rest(self, kv: daos.KeyValue) -> None:
        kv["k50"] = b"there"
        with pytest.raises(daos.ExistsError):
            kv.put_many({f"k{n}": b"new" for n in range(1000)}, cond=Cond.KEY_INSERT)
        assert kv["k50"] == b"there"
        assert len(kv) < 1000

    def test_from_many_threads(self, kv: daos.KeyValue) -> None:
        def work(thread: int) -> None:
            for number in range(50):
                kv[f"{thread}-{number}"] = b"%d" % number
                assert kv[f"{thread}-{number}"] == b"%d" % number

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(kv) == 400


class TestEventQueue:
    def test_launch_poll_result(self, client: daos.Client, kv: daos.KeyValue) -> None:
        with daos.EventQueue(client) as queue:
            events = [queue.launch(kv.put, f"k{n}", b"%d" % n) for n in range(256)]
            ended = []
            while part := queue.poll():
                ended += part
            assert len(ended) == 256
            assert set(ended) == set(events)
            assert queue.running == 0
            assert queue.poll() == []
            event = queue.launch(kv.get, "k7")
            assert event.result() == b"7"
            assert event.test()
            assert queue.poll(timeout=0) == []  # its result was taken
        assert len(kv) == 256

    def test_errors_come_out_of_result(self, client: daos.Client, kv: daos.KeyValue) -> None:
        with daos.EventQueue(client) as queue:
            event = queue.launch(kv.get, "none", cond=Cond.KEY_GET)
            with pytest.raises(daos.KeyNotFoundError):
                event.result()
            assert isinstance(event.error, daos.KeyNotFoundError)

    def test_eight_threads_with_a_queue_each(self, client: daos.Client, kv: daos.KeyValue) -> None:
        """ARRAY19."""

        def work(thread: int) -> None:
            with daos.EventQueue(client, depth=16) as queue:
                for number in range(256):
                    queue.launch(kv.put, f"{thread}-{number}", b"v")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(kv) == 8 * 256

    def test_parents(self, client: daos.Client, kv: daos.KeyValue) -> None:
        with daos.EventQueue(client) as queue:
            parent = queue.event()
            children = [parent.launch(kv.put, f"k{n}", b"v") for n in range(10)]
            assert not parent.test()
            parent.barrier()
            parent.barrier()
            assert parent.result() is None
            assert all(child.test() for child in children)
            assert parent.children == tuple(children)
            assert queue.poll(timeout=0) == []  # children are their parent's business
            with pytest.raises(daos.InvalidError):
                parent.launch(kv.put, "late", b"v")
            with pytest.raises(daos.InvalidError):
                children[0].launch(kv.put, "below", b"v")
            failing = queue.event()
            failing.launch(kv.put, "good", b"v")
            failing.launch(kv.get, "none", cond=Cond.KEY_GET)
            failing.barrier()
            assert queue.poll() == [failing]
            with pytest.raises(daos.KeyNotFoundError):
                failing.result()
            empty = queue.event()
            with pytest.raises(daos.InvalidError, match="barrier"):
                empty.wait()
            empty.barrier()
            assert empty.test()

    def test_abort(self, client: daos.Client, kv: daos.KeyValue) -> None:
        queue = daos.EventQueue(client)
        events = [queue.launch(kv.put, f"k{n}", b"v") for n in range(200)]
        queue.close(force=True)
        for event in events:
            assert event.test()
            assert event.error is None or isinstance(event.error, daos.CanceledError)
        with pytest.raises(daos.InvalidError, match="closed"):
            queue.launch(kv.put, "k", b"v")

    def test_only_calls_of_handles(self, client: daos.Client, kv: daos.KeyValue) -> None:
        with daos.EventQueue(client) as queue:
            for bad in (print, kv.scan, kv.__getitem__, lambda: None):
                with pytest.raises(daos.InvalidError, match="call of a handle"):
                    queue.launch(bad)

    def test_calls_that_open_handles(self, client: daos.Client, cont: daos.Container) -> None:
        with daos.EventQueue(client) as queue:
            made = [queue.launch(cont.kv) for _ in range(20)]
            for number, event in enumerate(made):
                event.result()["n"] = b"%d" % number
            assert len({event.result().oid for event in made}) == 20
