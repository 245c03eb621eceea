"""Modules and methods: who is registered, who answers, and what is said where nobody does."""

from __future__ import annotations

import asyncio

import pytest

from daos.base.errors import DER, DaosError, ExistsError, InvalidError
from daos.base.peers import Peer
from daos.drpc.registry import Methods, RefusedError, Registry
from daos.proto.drpc_pb2 import Call, Response, Status

PEER = Peer(1, 2, 3)


def ask(registry: Registry, call: Call | bytes) -> Response:
    message = call if isinstance(call, bytes) else call.SerializeToString()
    return asyncio.run(registry.respond(message, PEER))


class Recorder:
    def __init__(self, body: bytes = b"", error: Exception | None = None) -> None:
        self.calls: list[tuple[Call, Peer]] = []
        self.body, self.error = body, error

    async def __call__(self, call: Call, peer: Peer) -> bytes:
        self.calls.append((call, peer))
        if self.error is not None:
            raise self.error
        return self.body


def test_the_first_one_stays() -> None:
    registry, first, second = Registry(), Recorder(), Recorder()
    registry.register(2, first)
    with pytest.raises(ExistsError):
        registry.register(2, second)
    assert registry.get(2) is first


@pytest.mark.parametrize("module", [-1, 5, 256])
def test_an_id_that_is_none(module: int) -> None:
    registry = Registry()
    with pytest.raises(InvalidError, match="0 to 4"):
        registry.register(module, Recorder())
    with pytest.raises(InvalidError, match="0 to 4"):
        registry.unregister(module)
    assert registry.get(module) is None


def test_unregistering_who_is_not_there_leaves_the_others() -> None:
    registry, handler = Registry(), Recorder()
    registry.register(1, handler)
    registry.unregister(3)
    assert registry.modules == {1: handler}
    registry.unregister(1)
    assert registry.get(1) is None


def test_of_a_list_as_many_as_possible() -> None:
    registry, first, last = Registry(), Recorder(), Recorder()
    registry.register_all([])
    with pytest.raises(ExistsError):
        registry.register_all([(1, first), (1, Recorder()), (2, last)])
    assert registry.modules == {1: first, 2: last}


def test_a_registered_module_sees_the_call_as_it_was_sent() -> None:
    registry, handler = Registry(), Recorder(b"yes")
    registry.register(2, handler)
    call = Call(module=2, method=207, sequence=9, body=b"pool")
    assert ask(registry, call) == Response(sequence=9, status=Status.SUCCESS, body=b"yes")
    assert handler.calls == [(call, PEER)]


def test_an_unknown_module_is_not_anybodys() -> None:
    registry, handler = Registry(), Recorder()
    registry.register(2, handler)
    for module in (1, 256, -7):
        answer = ask(registry, Call(module=module, method=1, sequence=4))
        assert answer == Response(sequence=4, status=Status.UNKNOWN_MODULE)
    assert handler.calls == []


def test_garbage_has_no_sequence() -> None:
    answer = ask(Registry(), b"\xff\xff\xff")
    assert answer == Response(sequence=-1, status=Status.FAILED_UNMARSHAL_CALL)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefusedError(Status.FAILED_UNMARSHAL_PAYLOAD), Status.FAILED_UNMARSHAL_PAYLOAD),
        (RefusedError(Status.UNKNOWN_METHOD), Status.UNKNOWN_METHOD),
        (DaosError("nobody is there", code=DER.UNREACH), Status.FAILURE),
    ],
)
def test_how_a_handler_fails(
    error: Exception, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    registry.register(1, Recorder(error=error))
    answer = ask(registry, Call(module=1, method=3, sequence=2))
    problem, code = (error.message, error.code) if isinstance(error, DaosError) else ("", 0)
    assert answer == Response(sequence=2, status=status, problem=problem, code=code)
    assert bool(caplog.messages) == (status is Status.FAILURE)


class TestMethods:
    def test_each_method_gets_its_message(self) -> None:
        methods = Methods()

        async def echo(request: Response, peer: Peer) -> Response:
            return Response(sequence=request.sequence + peer.uid)

        async def silent(request: Call, peer: Peer) -> None:
            return None

        methods.add(10, Response, echo)
        methods.add(11, Call, silent)
        assert methods.numbers == (10, 11)
        registry = Registry()
        registry.register(1, methods)
        answer = ask(
            registry, Call(module=1, method=10, body=Response(sequence=40).SerializeToString())
        )
        assert Response.FromString(answer.body).sequence == 42
        assert ask(registry, Call(module=1, method=11)) == Response()
        with pytest.raises(ExistsError, match="method 10"):
            methods.add(10, Call, silent)

    @pytest.mark.parametrize(
        ("method", "body", "status"),
        [
            (10, b"\xff\xff", Status.FAILED_UNMARSHAL_PAYLOAD),
            (12, b"", Status.UNKNOWN_METHOD),
            (-1, b"", Status.UNKNOWN_METHOD),
        ],
    )
    def test_what_it_cannot_answer(self, method: int, body: bytes, status: Status) -> None:
        methods = Methods()

        async def never(request: Call, peer: Peer) -> None:
            raise AssertionError("it was called")

        methods.add(10, Call, never)
        registry = Registry()
        registry.register(1, methods)
        answer = ask(registry, Call(module=1, method=method, sequence=8, body=body))
        assert answer == Response(sequence=8, status=status)
