"""Store a real directory tree and see what the store promises; `./dev demo` runs this.

    1  store      each file as an array of bytes, its name in a key-value object
    2  read       a second process reads all of it back and compares it with the files
    3  snapshot   freeze, overwrite some files, read both versions
    4  kill       a writer gets SIGKILL in mid-load; what it had acknowledged is whole

One process owns a system, so the reader of step 2 and the writer of step 4 open the directory while
this process has it closed. A file is named only after its bytes are acknowledged: a name that can
be read leads to a whole file, whatever happened in between.

Exit status: 0 all as promised, 1 a difference was found, 2 wrong usage, no space, path in use.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo_progress import Progress, megabytes

import daos

MIB: Final = 1 << 20
LIMIT_BYTES: Final = 128 * MIB
WORKERS: Final = 16  # threads: their writes share the flushes of the log
POOL: Final = "demo"
OVERWRITTEN_BYTES_MAX: Final = 8 * MIB
NEW_LINE: Final = b"# second version\n"


class DifferenceError(Exception):
    """The store gave something else than what was put into it."""


class UsageError(Exception):
    """The demo can't run like this; the text says why."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Files below a directory, by relative name."""

    source: Path
    sizes: dict[str, int]
    left_out: int = 0

    @property
    def nbytes(self) -> int:
        return sum(self.sizes.values())

    def content(self, name: str) -> bytes:
        return (self.source / name).read_bytes()

    @classmethod
    def scan(cls, source: Path, limit_bytes: int, *, skip: set[str]) -> Tree:
        """The regular files below `source` that fit into the limit, but for some directories."""
        sizes, total, left_out = dict[str, int](), 0, 0
        for directory, inner, names in os.walk(source):
            inner[:] = sorted(set(inner) - skip)
            for path in (Path(directory, name) for name in sorted(names)):
                if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                    continue
                nbytes = path.stat().st_size
                if total + nbytes > limit_bytes:
                    left_out += 1
                    continue
                sizes[str(path.relative_to(source))] = nbytes
                total += nbytes
        if not sizes:
            raise UsageError(f"no files below {source} fit into {megabytes(limit_bytes)}")
        return cls(source, sizes, left_out)


class Store:
    """Files as arrays, named in a key-value object that an attribute of the container names."""

    def __init__(self, container: daos.Container) -> None:
        self.container = container
        oid = daos.ObjectId.parse(container.attrs["names"].decode())
        self.names = container.kv(oid, text=True)

    @classmethod
    def create(cls, pool: daos.Pool, label: str) -> Store:
        container = pool.create_container(label)
        container.attrs["names"] = str(container.new_oid("KV_LEXICAL", "SX")).encode()
        return cls(container)

    def put(self, name: str, content: bytes) -> None:
        """Returns when bytes and name are durable."""
        with self.container.array() as array:
            array.write(0, content)
            self.names[name] = str(array.oid).encode()

    def get(self, name: str) -> bytes:
        with self.container.array(daos.ObjectId.parse(self.names[name].decode())) as array:
            return array.read(0, array.size)

    def overwrite(self, name: str, content: bytes) -> None:
        """In place: the same array from now on holds something else."""
        with self.container.array(daos.ObjectId.parse(self.names[name].decode())) as array:
            array.write(0, content)
            array.resize(len(content))

    def check(self, name: str, wanted: bytes) -> None:
        if self.get(name) != wanted:
            raise DifferenceError(f"{name} is not what was stored")


def in_parallel(work: Callable[[str], None], names: Iterable[str]) -> Iterator[str]:
    """Do `work` for each name, several at a time; gives the names, in order. Errors stop it."""
    workers = ThreadPoolExecutor(WORKERS)
    pending = [(name, workers.submit(work, name)) for name in names]
    try:
        for name, future in pending:
            future.result()
            yield name
    finally:
        workers.shutdown(cancel_futures=True)


@contextmanager
def opened(path: Path, label: str, flags: str = "rw") -> Iterator[Store]:
    with (
        daos.local(path) as system,
        system.connect() as client,
        client.pool(POOL) as pool,
        pool.container(label, flags) as container,
    ):
        yield Store(container)


# --- the steps ------------------------------------------------------------------------------------


def store(path: Path, tree: Tree) -> None:
    size = pool_bytes(tree)
    free = shutil.disk_usage(path).free
    if size > free:
        raise UsageError(
            f"the pool needs {megabytes(size)}, {path} has {megabytes(free)} free: "
            "give a smaller --limit, or a --path with more room"
        )
    with daos.local(path) as system:
        system.admin.pool_create(POOL, size=size)
        with system.connect() as client, client.pool(POOL) as pool:
            print(f"   pool '{POOL}' of {megabytes(size)} on {pool.query().targets} targets")
            Store.create(pool, "killed")  # for step 4
            files = Store.create(pool, "files")
            with Progress("storing", tree.nbytes) as progress:
                for name in in_parallel(
                    lambda name: files.put(name, tree.content(name)), tree.sizes
                ):
                    progress.advance(tree.sizes[name])
    speed = f"{len(tree.sizes) / progress.seconds:,.0f} files/s, {progress.speed}"
    print(f"   {len(tree.sizes)} files, {megabytes(tree.nbytes)}, {speed}, each one durable")


def read(path: Path, tree: Tree) -> None:
    """Step 2, in the second process."""
    with opened(path, "files", "r") as files:
        if (found := set(files.names)) != set(tree.sizes):
            raise DifferenceError(f"{len(found)} names are there, {len(tree.sizes)} were stored")
        with Progress("comparing", tree.nbytes) as progress:
            for name in in_parallel(lambda name: files.check(name, tree.content(name)), tree.sizes):
                progress.advance(tree.sizes[name])
    print(f"   process {os.getpid()}: all equal, {progress.speed}")


def snapshot(path: Path, tree: Tree) -> None:
    chosen, total = list[str](), 0
    for name, nbytes in tree.sizes.items():
        if chosen and total + nbytes > OVERWRITTEN_BYTES_MAX:
            break
        chosen.append(name)
        total += nbytes
    with opened(path, "files") as now:
        now.container.snapshot("original")
        with Progress("overwriting", total) as progress:
            for name in in_parallel(
                lambda name: now.overwrite(name, NEW_LINE + tree.content(name)), chosen
            ):
                progress.advance(tree.sizes[name])
        print(f"   took snapshot 'original', then overwrote {len(chosen)} files")
        with now.container.at("original") as view, Progress("reading both", 2 * total) as progress:
            before = Store(view)

            def check(name: str) -> None:
                content = tree.content(name)
                before.check(name, content)
                now.check(name, NEW_LINE + content)

            for name in in_parallel(check, chosen):
                progress.advance(2 * tree.sizes[name])
        print("   both versions are right: the old one in the snapshot, the new one now")


def load(path: Path, tree: Tree) -> None:
    """Step 4, in the process to be killed: store files until then, tell which are acknowledged."""

    with opened(path, "killed") as files:

        def put(name: str) -> None:
            files.put(name, tree.content(name.partition("/")[2]))
            os.write(sys.stdout.fileno(), f"{json.dumps(name)}\n".encode())

        for turn in range(sys.maxsize):
            for _ in in_parallel(put, (f"{turn}/{name}" for name in tree.sizes)):
                pass


def enough(names: Sized) -> int:
    """After so many acknowledgements the writer is killed."""
    return max(1, len(names) // 2)


def kill(path: Path, tree: Tree) -> None:
    acknowledged = list[str]()
    with subprocess.Popen(
        role("load", path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(manifest(tree))
        child.stdin.close()
        for line in child.stdout:  # to the end: all that it said before it died
            acknowledged.append(json.loads(line))
            if len(acknowledged) == enough(tree.sizes):
                child.send_signal(signal.SIGKILL)
    if child.returncode != -signal.SIGKILL:
        raise DifferenceError(f"the writer ended by itself, with status {child.returncode}")
    print(f"   killed process {child.pid} after {len(acknowledged)} acknowledged files")

    start = time.monotonic()
    with opened(path, "killed", "r") as files:
        print(f"   opened again in {time.monotonic() - start:.2f} s")
        found = set(files.names)
        if missing := set(acknowledged) - found:
            raise DifferenceError(f"acknowledged, but lost: {', '.join(sorted(missing)[:5])}")
        total = sum(tree.sizes[name.partition("/")[2]] for name in found)
        with Progress("comparing", total) as progress:
            for name in in_parallel(
                lambda name: files.check(name, tree.content(name.partition("/")[2])), found
            ):
                progress.advance(tree.sizes[name.partition("/")[2]])
    more = len(found) - len(acknowledged)
    print(f"   all {len(acknowledged)} acknowledged files are whole")
    if more:
        print(f"   so are {more} more, whose acknowledgement had not come through")


def summary(path: Path) -> None:
    with daos.local(path) as system, system.connect() as client, client.pool(POOL) as pool:
        info = pool.query()
        used = info.space.total - info.space.free
        print(f"   pool '{info.label}': {megabytes(used)} of {megabytes(info.space.total)} in use")
        for listing in pool.containers():
            with pool.container(listing.label, "r") as container:
                objects = sum(1 for _ in container.objects())
                print(
                    f"   container '{listing.label}': {objects} objects, "
                    f"snapshots: {container.query().snapshots}"
                )


# --- processes ------------------------------------------------------------------------------------


def role(name: str, path: Path) -> list[str]:
    """The command line of another process of the demo; it is given the manifest."""
    return [sys.executable, str(Path(__file__).resolve()), "--role", name, "--path", str(path)]


def manifest(tree: Tree) -> bytes:
    return json.dumps({"source": str(tree.source), "sizes": tree.sizes}).encode()


def read_in_second_process(path: Path, tree: Tree) -> None:
    sys.stdout.flush()
    child = subprocess.run(role("read", path), input=manifest(tree), check=False)
    if child.returncode:
        raise DifferenceError(f"the reading process ended with status {child.returncode}")


def pool_bytes(tree: Tree) -> int:
    """Twice the files in whole blocks (stored, and by the writer that is killed), versions, room.

    A file costs about 4 KiB of tree beside its blocks; an eighth of a pool is log, and checkpoints
    take as much as the tree twice. Targets do not fill evenly: half as much again.
    """
    blocks = sum(-(-nbytes // 4096) * 4096 for nbytes in tree.sizes.values())
    data = 2 * blocks + OVERWRITTEN_BYTES_MAX + (64 << 10) * len(tree.sizes)
    largest = 2 * 4 * max(tree.sizes.values())  # it may lie on one target alone
    return max(256 * MIB, -(-(data + largest) * 3 // 2 // MIB) * MIB)


def run(path: Path, tree: Tree) -> None:
    left = f" ({tree.left_out} do not fit into --limit)" if tree.left_out else ""
    print(f"{len(tree.sizes)} files, {megabytes(tree.nbytes)}, below {tree.source}{left}")
    steps: Sequence[tuple[str, Callable[[Path, Tree], None]]] = [
        ("store each file as an array, its name in a key-value object", store),
        ("read them back in a second process, and compare", read_in_second_process),
        ("take a snapshot, overwrite, read both versions", snapshot),
        ("kill a writer in mid-load, and look at what it had acknowledged", kill),
    ]
    for number, (title, step) in enumerate(steps, 1):
        print(f"\n{number}. {title}")
        step(path, tree)
    print("\nWhat is there now")
    summary(path)


NEXT = """
All as promised. What to try next:
  .venv/bin/python examples/snapshots.py    versions on one page; so kv.py, array.py, key_array.py
  docs/tour.md                              ten minutes through the whole interface
  ./dev demo --source DIR --limit 1GiB      with files of your own; --path DIR keeps the store
  ./dev test, ./dev bench                   the tests; how fast this machine is"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev demo", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="the tree to store; default: Python's library"
    )
    parser.add_argument(
        "--path", type=Path, metavar="DIR", help="where to keep the store; default: temporary"
    )
    parser.add_argument(
        "--limit",
        metavar="BYTES",
        default=str(LIMIT_BYTES),
        help=f"at most so much of the tree, such as 1GiB; default: {LIMIT_BYTES // MIB}MiB",
    )
    parser.add_argument("--role", choices=("read", "load"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.role:
            given = json.load(sys.stdin)
            tree = Tree(Path(given["source"]), given["sizes"])
            {"read": read, "load": load}[options.role](options.path, tree)
            return 0
        source, skip = options.source, {"__pycache__"}
        if source is None:
            source = Path(sysconfig.get_path("stdlib"))
            skip |= {"site-packages", "dist-packages"}
        if not source.is_dir():
            raise UsageError(f"{source} is no directory")
        tree = Tree.scan(source.resolve(), daos.parse_size(options.limit), skip=skip)
        if options.path is None:
            with tempfile.TemporaryDirectory(prefix="daos-demo-") as directory:
                run(Path(directory), tree)
        else:
            options.path.mkdir(parents=True, exist_ok=True)
            run(options.path.resolve(), tree)
    except DifferenceError as error:
        return failed(f"DIFFERENCE: {error}", 1)
    except daos.ChecksumError as error:
        return failed(f"DIFFERENCE: {error}", 1)
    except daos.NoSpaceError as error:
        return failed(f"{error}\ngive a smaller --limit, or a --path with more room", 2)
    except daos.ExistsError as error:
        return failed(
            f"{error}\n{options.path} holds a demo already: remove it, or name another", 2
        )
    except (UsageError, daos.DaosError, OSError) as error:
        return failed(str(error), 2)
    print(NEXT)
    return 0


def failed(text: str, status: int) -> int:
    sys.stdout.flush()
    print(f"demo: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
