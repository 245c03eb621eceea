"""What tests of files by handle share: `portal.call(mount.mkdir, mount.root, "d")` and the like."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar

import pytest

import daos

P = ParamSpec("P")
T = TypeVar("T")
labels = (f"files-{number}" for number in itertools.count())
CREATE = os.O_CREAT | os.O_RDWR


async def listed(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


def refused(
    number: int, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> daos.DaosError:
    """The call fails with this number of POSIX; its error."""
    with pytest.raises(daos.DaosError) as caught:
        call(*args, **kwargs)
    assert caught.value.errno == number, caught.value
    return caught.value


def together(count: int, work: Callable[[int], T]) -> list[T | BaseException]:
    """What so many threads get that do it at the same time."""
    results: list[T | BaseException] = [ValueError()] * count

    def run(number: int) -> None:
        try:
            results[number] = work(number)
        except BaseException as error:  # each thread's end is looked at
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
