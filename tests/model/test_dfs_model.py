"""A file system against a directory on tmpfs: random calls of both, the trees compared.

Two mounts of one container take turns, as two clients would. Files stay open over renames; one that
was removed while open is let go of, since its content is gone here (docs/files.md). After each step
both have said the same, and every few steps the whole trees are read and compared.

    DAOS_MODEL_STEPS=10000 ./dev test tests/model/test_dfs_model.py     a long run

Source: ours; the model is the kernel's tmpfs, which shares no code with anything here
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

import daos
from tests.model.local_files import LocalFiles, told, tree_of

# Steps of a run that somebody asked for; a few otherwise.
STEPS: Final = int(os.environ.get("DAOS_MODEL_STEPS", "0"))
STEPS_OF_EXAMPLE: Final = 80
CHUNK: Final = 64  # so that files of some hundred bytes have several

Side: TypeAlias = Any  # a FileSystem or LocalFiles: what they have in common has no name

NAMES: Final = st.sampled_from(["a", "b", "c", "dir", "ö"])
PATHS: Final = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
# Where a symlink leads. Without `..`: the root of the model has something above it.
TARGETS: Final = st.one_of(PATHS, NAMES, st.sampled_from(["dir/b", ".", "a/", "./ö/../b"]))
OFFSETS: Final = st.integers(0, 5 * CHUNK)
DATA: Final = st.binary(max_size=3 * CHUNK)
ATTRIBUTES: Final = st.sampled_from(["user.a", "user.b"])


class Choice(NamedTuple):
    """Which path a call is about; `Files.at` says."""

    how: str
    index: int
    name: str
    path: str


# What a call is about: mostly something that there is, or a name in a directory that there is.
CHOICES: Final = st.builds(
    Choice,
    st.sampled_from(["there", "there", "there", "below", "below", "any"]),
    st.integers(0, 31),
    NAMES,
    PATHS,
)


class Open(NamedTuple):
    """One file, open on both sides."""

    ours: IO[bytes]
    theirs: IO[bytes]


class Files(RuleBasedStateMachine):
    """Calls of a FileSystem and of `os`."""

    opened = Bundle("opened")
    pool: daos.Pool  # of all examples
    root: Path
    numbers = itertools.count()
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.number = next(Files.numbers)
        root = self.root / str(self.number)
        root.mkdir(mode=0o755)
        self.local = LocalFiles(root)
        self.cont = self.pool.create_container(f"c{self.number}", type="POSIX", chunk_size=CHUNK)
        self.mounts = [self.cont.filesystem(), self.cont.filesystem()]
        self.files: list[Open] = []
        self.turn = 0

    def teardown(self) -> None:
        try:
            self.compare_trees()
        finally:
            for file in self.files:
                file.ours.close()
                file.theirs.close()
            self.cont.close()
            self.pool.destroy_container(f"c{self.number}", force=True)
            shutil.rmtree(self.root / str(self.number))

    @property
    def fs(self) -> daos.FileSystem:
        """The mounts take turns."""
        self.turn += 1
        Files.steps += 1
        return self.mounts[self.turn % 2]

    def at(self, where: Choice) -> str:
        """A path: one that there is, a name in a directory that there is, or any."""
        how, index, name, path = where
        there, directories = [], ["/"]
        for top, names, files in self.local.walk("/"):
            there += [f"{top.rstrip('/')}/{each}" for each in names + files]
            directories += [f"{top.rstrip('/')}/{each}" for each in names]
        if how == "there" and there:
            return sorted(there)[index % len(there)]
        if how == "below":
            return f"{sorted(directories)[index % len(directories)].rstrip('/')}/{name}"
        return path

    def both(self, call: Callable[[Side], object]) -> object:
        ours, theirs = told(lambda: call(self.fs)), told(lambda: call(self.local))
        assert ours == theirs, f"here {ours!r}, os {theirs!r}"
        return ours

    @rule(where=CHOICES, data=DATA)
    def create(self, where: Choice, data: bytes) -> None:
        path = self.at(where)
        self.both(lambda files: files.write_bytes(path, data))

    @rule(where=CHOICES, mode=st.sampled_from(["xb", "ab", "wb", "r+b"]), at=OFFSETS, data=DATA)
    def write(self, where: Choice, mode: str, at: int, data: bytes) -> None:
        path = self.at(where)

        def call(files: Side) -> object:
            with files.open(path, mode) as file:
                file.seek(at)
                return file.write(data)

        self.both(call)

    @rule(where=CHOICES, size=OFFSETS)
    def truncate(self, where: Choice, size: int) -> None:
        path = self.at(where)
        self.both(lambda files: files.truncate(path, size))

    @rule(where=CHOICES)
    def mkdir(self, where: Choice) -> None:
        path = self.at(where)
        self.both(lambda files: files.mkdir(path))

    @rule(where=CHOICES, exist_ok=st.booleans())
    def makedirs(self, where: Choice, exist_ok: bool) -> None:
        path = self.at(where)
        self.both(lambda files: files.makedirs(path, 0o755, exist_ok))

    @rule(where=CHOICES)
    def rmdir(self, where: Choice) -> None:
        path = self.at(where)
        self.both(lambda files: files.rmdir(path))

    @rule(where=CHOICES)
    def remove(self, where: Choice) -> None:
        path = self.at(where)
        self.both(lambda files: files.remove(path))

    @rule(old=CHOICES, new=CHOICES)
    def rename(self, old: Choice, new: Choice) -> None:
        src, dst = self.at(old), self.at(new)
        self.both(lambda files: files.rename(src, dst))

    @rule(old=CHOICES, new=CHOICES)
    def rename_over(self, old: Choice, new: Choice) -> None:
        self.rename(old._replace(how="there"), new._replace(how="there"))

    @rule(where=CHOICES, data=DATA)
    def create_below(self, where: Choice, data: bytes) -> None:
        self.create(where._replace(how="below"), data)

    @rule(src=TARGETS, where=CHOICES)
    def symlink(self, src: str, where: Choice) -> None:
        dst = self.at(where)
        self.both(lambda files: files.symlink(src, dst))

    @rule(where=CHOICES, mode=st.sampled_from([0o700, 0o755, 0o777]))
    def chmod(self, where: Choice, mode: int) -> None:
        path = self.at(where)
        self.both(lambda files: files.chmod(path, mode))

    @rule(where=CHOICES, name=ATTRIBUTES, value=st.binary(max_size=8), flags=st.integers(0, 2))
    def setxattr(self, where: Choice, name: str, value: bytes, flags: int) -> None:
        path = self.at(where)
        self.both(lambda files: files.setxattr(path, name, value, flags))

    @rule(where=CHOICES, name=ATTRIBUTES)
    def removexattr(self, where: Choice, name: str) -> None:
        path = self.at(where)
        self.both(lambda files: files.removexattr(path, name))

    @rule(where=CHOICES)
    def look(self, where: Choice) -> None:
        path = self.at(where)
        for name in ("stat", "lstat", "listdir", "readlink", "read_bytes", "listxattr", "exists"):
            self.both(lambda files: getattr(files, name)(path))  # noqa: B023  # called at once

    @rule(target=opened, where=CHOICES)
    def open(self, where: Choice) -> Open | None:
        path = self.at(where)

        def call(files: Side) -> object:
            file = files.open(path, "r+b", 0)
            kept.append(file)
            return "open"

        kept: list[IO[bytes]] = []
        if self.both(call) != "open":
            return None
        self.files.append(Open(*kept))
        return self.files[-1]

    @rule(file=opened, at=OFFSETS, data=DATA)
    def write_open(self, file: Open | None, at: int, data: bytes) -> None:
        if file is not None and _has_a_name(file):
            for side in file:
                side.seek(at)
                side.write(data)

    @rule(file=opened, at=OFFSETS)
    def read_open(self, file: Open | None, at: int) -> None:
        if file is not None and _has_a_name(file):
            for side in file:
                side.seek(at)
            assert file.ours.read(99) == file.theirs.read(99)
            assert file.ours.seek(0, os.SEEK_END) == file.theirs.seek(0, os.SEEK_END)

    @rule(file=consumes(opened))
    def close(self, file: Open | None) -> None:
        for side in file or ():
            side.close()

    @rule()
    def mount_anew(self) -> None:
        # The old one stays open with its files; the container's end closes it.
        self.mounts[self.turn % 2] = self.cont.filesystem()

    @invariant()
    def now_and_then_the_trees_are_equal(self) -> None:
        if self.turn % 7 == 0:
            self.compare_trees()

    def compare_trees(self) -> None:
        assert tree_of(self.fs) == tree_of(self.local)


def _has_a_name(file: Open) -> bool:
    return not file.theirs.closed and os.fstat(file.theirs.fileno()).st_nlink > 0


@pytest.fixture
def memory() -> Iterator[Path]:
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=place, prefix="daos-") as directory:
        yield Path(directory)


def test_files_answer_as_a_directory_does(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(
        max_examples=-(-STEPS // STEPS_OF_EXAMPLE) or 30,
        stateful_step_count=STEPS_OF_EXAMPLE,
        derandomize=not STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # shrinking what real requests do takes minutes
        suppress_health_check=list(HealthCheck),
    )
    Files.steps, Files.root = 0, memory / "local"
    Files.root.mkdir()
    with daos.local(memory / "system", targets=2) as system:
        system.admin.pool_create("tank", "128MiB")
        with system.connect() as client, client.pool("tank") as Files.pool:
            run_state_machine_as_test(Files, settings=chosen)
    with capsys.disabled():
        print(f" [{Files.steps} calls without a difference]", end="")
