"""Store a real directory tree and see what the store promises; `./dev demo` runs this.

    1  start      daos_server, which starts an engine and an agent, in a place of its own
    2  store      copy the tree into a container of type POSIX
    3  read       list it, copy it out again, and compare each byte with the files
    4  snapshot   freeze, overwrite some files, compare both versions
    5  kill       a writer of arrays and key-values gets SIGKILL in mid-load, the servers stop and
                  start again; what the writer had acknowledged is whole

Every process of it is a client of the servers. A file is named only after its bytes are
acknowledged: a name that can be read leads to a whole file, whatever happened in between.

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
import textwrap
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
STORED: Final = f"daos://{POOL}/files/tree"
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

    def stage(self, target: Path, change: Callable[[bytes], bytes] | None = None) -> Path:
        """The same files below another directory, or what `change` makes of each."""
        for name in self.sizes:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if change is not None:
                path.write_bytes(change(self.content(name)))
            else:
                try:
                    os.link(self.source / name, path)
                except OSError:  # another file system, or one without links
                    shutil.copy2(self.source / name, path)
        return target

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
    def create(cls, container: daos.Container) -> Store:
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
def opened(label: str, flags: str = "rw") -> Iterator[Store]:
    with (
        daos.connect() as client,
        client.pool(POOL) as pool,
        pool.container(label, flags) as container,
    ):
        yield Store(container)


# --- the servers ----------------------------------------------------------------------------------


def tool(*words: str, wrong: str = "") -> None:
    """Run one of the commands, and show it with what it prints.

    Raises: UsageError  it failed; DifferenceError  that, and it means that something is `wrong`
    """
    print(f"   $ {' '.join(words)}", flush=True)
    module = "daos.cli.server" if words[0] == "daos_server" else f"daos.cli.{words[0]}"
    command = [sys.executable, "-m", module, *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and wrong:
        raise DifferenceError(f"{wrong}: {done.stdout or done.stderr}")
    if done.returncode:
        raise UsageError(done.stderr.strip())
    print(textwrap.indent(done.stdout, "     "), end="", flush=True)


class Servers:
    """`with Servers(path)`: the system whose storage is below `path`, and its place the
    environment names; it is stopped at the end."""

    def __init__(self, path: Path) -> None:
        self.storage = path / "storage"
        self._sockets = tempfile.TemporaryDirectory(prefix="daos-demo-", dir="/tmp")  # short paths
        os.environ["DAOS_SOCKET_DIR"] = self._sockets.name

    def start(self) -> None:
        tool("daos_server", "start", "-s", str(self.storage))

    def stop(self) -> None:
        tool("daos_server", "stop")

    def __enter__(self) -> Servers:
        try:
            self.start()
        except BaseException:
            self._forget()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self._forget()

    def _forget(self) -> None:
        del os.environ["DAOS_SOCKET_DIR"]
        self._sockets.cleanup()


# --- the steps ------------------------------------------------------------------------------------


def store(path: Path, tree: Tree) -> None:
    size = pool_bytes(tree)
    free = shutil.disk_usage(path).free
    if size > free:
        raise UsageError(
            f"the pool needs {megabytes(size)}, {path} has {megabytes(free)} free: "
            "give a smaller --limit, or a --path with more room"
        )
    tool("dmg", "pool", "create", POOL, "-z", f"{size // MIB}MiB")
    tool("daos", "container", "create", POOL, "files", "--type", "POSIX")
    with tempfile.TemporaryDirectory(dir=path) as name:
        staged = tree.stage(Path(name, "tree"))
        start = time.monotonic()
        tool("daos", "fs", "copy", "-s", str(staged), "-d", STORED.removesuffix("/tree"))
        seconds = time.monotonic() - start
    speed = f"{len(tree.sizes) / seconds:,.0f} files/s, {megabytes(tree.nbytes / seconds)}/s"
    print(f"   {len(tree.sizes)} files, {megabytes(tree.nbytes)}, {speed}, each one durable")


def read(path: Path, tree: Tree) -> None:
    tool("daos", "fs", "scan", POOL, "files")
    with tempfile.TemporaryDirectory(dir=path) as name:
        back = Path(name, "back")
        tool("daos", "fs", "copy", "-s", STORED, "-d", str(back))
        found = {str(each.relative_to(back)) for each in back.rglob("*") if each.is_file()}
        if found != set(tree.sizes):
            raise DifferenceError(f"{len(found)} files came back, {len(tree.sizes)} were stored")
        with Progress("comparing", tree.nbytes) as progress:
            for each, nbytes in tree.sizes.items():
                if (back / each).read_bytes() != tree.content(each):
                    raise DifferenceError(f"{each} is not what was stored")
                progress.advance(nbytes)
    print(f"   all equal: {len(tree.sizes)} files, {megabytes(tree.nbytes)}")


def snapshot(path: Path, tree: Tree) -> None:
    chosen, total = dict[str, int](), 0
    for name, nbytes in tree.sizes.items():
        if chosen and total + nbytes > OVERWRITTEN_BYTES_MAX:
            break
        chosen[name] = nbytes
        total += nbytes
    tool("daos", "container", "create-snap", POOL, "files", "--snap", "original")
    differs = "not what was stored, in the snapshot or now"
    with tempfile.TemporaryDirectory(dir=path) as name:
        new = str(Tree(tree.source, chosen).stage(Path(name, "tree"), lambda old: NEW_LINE + old))
        tool("daos", "fs", "copy", "-s", new, "-d", STORED.removesuffix("/tree"))
        tool("daos", "fs", "copy", "-s", new, "-d", STORED, "--only-verify", wrong=differs)
        then = Path(name, "then")
        tool("daos", "fs", "copy", "-s", STORED, "--snap", "original", "-d", str(then))
        for each in chosen:
            if (then / each).read_bytes() != tree.content(each):
                raise DifferenceError(f"{each} is {differs}")
    print(f"   {len(chosen)} files: the old version in the snapshot, the new one now")


def load(tree: Tree) -> None:
    """Step 5, in the process to be killed: store files until then, tell which are acknowledged."""

    with opened("killed") as files:

        def put(name: str) -> None:
            files.put(name, tree.content(name.partition("/")[2]))
            os.write(sys.stdout.fileno(), f"{json.dumps(name)}\n".encode())

        for turn in range(sys.maxsize):
            for _ in in_parallel(put, (f"{turn}/{name}" for name in tree.sizes)):
                pass


def enough(names: Sized) -> int:
    """After so many acknowledgements the writer is killed."""
    return max(1, len(names) // 2)


def kill(servers: Servers, tree: Tree) -> None:
    with daos.connect() as client, client.pool(POOL) as pool:
        Store.create(pool.create_container("killed"))
    acknowledged = list[str]()
    with subprocess.Popen(role("load"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(manifest(tree))
            child.stdin.close()
            for line in child.stdout:  # to the end: all that it said before it died
                acknowledged.append(json.loads(line))
                if len(acknowledged) == enough(tree.sizes):
                    child.send_signal(signal.SIGKILL)
        except BaseException:
            child.kill()
            raise
    if child.returncode != -signal.SIGKILL:
        raise DifferenceError(f"the writer ended by itself, with status {child.returncode}")
    print(f"   killed process {child.pid} after {len(acknowledged)} acknowledged files")
    servers.stop()
    start = time.monotonic()
    servers.start()
    with opened("killed", "r") as files:
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


def summary() -> None:
    tool("dmg", "system", "query")
    tool("dmg", "pool", "query", POOL)
    tool("daos", "container", "list", POOL)
    tool("daos", "container", "query", POOL, "files")
    tool("daos", "container", "list-snaps", POOL, "files")


# --- processes ------------------------------------------------------------------------------------


def role(name: str) -> list[str]:
    """The command line of another process of the demo; it is given the manifest."""
    return [sys.executable, str(Path(__file__).resolve()), "--role", name]


def manifest(tree: Tree) -> bytes:
    return json.dumps({"source": str(tree.source), "sizes": tree.sizes}).encode()


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
    if (path / "storage").exists():
        raise UsageError(f"{path} holds a demo already: remove it, or name another")
    print("\n1. start the servers of a system: control plane, agent, an engine with four targets")
    with Servers(path) as servers:
        steps: Sequence[tuple[str, Callable[[], None]]] = [
            (
                "copy the tree into a container of type POSIX",
                lambda: store(path, tree),
            ),
            ("list it, copy it out again, and compare", lambda: read(path, tree)),
            ("take a snapshot, overwrite, compare both versions", lambda: snapshot(path, tree)),
            ("kill a writer, restart all, see what was acknowledged", lambda: kill(servers, tree)),
            ("what is there now", summary),
        ]
        for number, (title, step) in enumerate(steps, 2):
            print(f"\n{number}. {title}")
            step()
        print("\n7. stop")


NEXT = """
All as promised. What to try next:
  .venv/bin/daos_server start               a system of your own; `dmg --help`, `daos --help`
  .venv/bin/python examples/snapshots.py    versions on one page; so kv.py, arrays.py, key_array.py
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
    parser.add_argument("--role", choices=("load",), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.role:
            given = json.load(sys.stdin)
            tree = Tree(Path(given["source"]), given["sizes"])
            load(tree)
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
    except (UsageError, daos.DaosError, OSError) as error:
        return failed(str(error), 2)
    print(NEXT)
    return 0


def failed(text: str, status: int) -> int:
    sys.stdout.flush()
    print(f"demo: {text}", file=sys.stderr)
    return status


def ended(number: int, _frame: object) -> None:
    """The servers are stopped on the way out."""
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
