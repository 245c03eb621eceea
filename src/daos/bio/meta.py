"""The durable tree of one shard on one device: a volatile LMDB image, its log, its checkpoints.

    begin .. put/delete/write/free .. commit     applied to the tree at once, in memory
                                                 joins the open log group
    when_durable(lsn)                            the group's flush is done: now tell the client

The live LMDB environment is volatile. It is thrown away when the shard is opened, and rebuilt from
the checkpoint and the log, so that recovery is one path and is taken every day.

Invariants:
    I1  what `get` and `cursor` show is every committed transaction, durable or not. Whoever shows
        it to a client waits for the LSN it depends on
    I2  a transaction is in the tree, in the log and in the space map, or in none of them
    I3  a transaction that the live tree refuses fails alone (see tree.py)
    I4  the next checkpoint fits beside the current one: `hold` counts the pages of the tree, and
        those it may grow by, against the device before anything is changed
    I5  every superblock is written by one task at a time, and what it gives up (log blocks,
        extents of the previous checkpoint) is reused only behind its flush
    I6  open() ends with a superblock and a flush: what recovery accepted is durable before
        anybody sees it, and debris of a torn group is wiped (see replay.py)

Concurrency: one event loop owns the context. Everything but open, checkpoint, durable and close is
synchronous; code between two awaits sees one state.

Crash table: wal.py (groups), checkpoint.py (checkpoints), replay.py (recovery itself).

Source: DAOS src/bio/bio_context.c bio_mc_create, bio_mc_open; src/umem (transactions over a
volatile image); LMDB in place of the heap is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import lmdb

from daos.base.errors import (
    DER,
    AgainError,
    CorruptError,
    DaosError,
    InvalidError,
    NvmeIoError,
    ShutdownError,
)
from daos.base.ids import Epoch, Lsn
from daos.bio.ahead import Ahead
from daos.bio.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    checkpoint_blocks,
    load_checkpoint,
)
from daos.bio.device import BLOCK, BlockDevice, Done, Write, write
from daos.bio.layout import Superblock, emit_record
from daos.bio.memory import AlignedPool
from daos.bio.meta_config import MetaConfig
from daos.bio.replay import Applier, ReplayEnd, replay
from daos.bio.room import Hold, Room
from daos.bio.space import Hint, Space, SpaceStatistics
from daos.bio.superblock import format_device, read_superblock, slot_write
from daos.bio.tree import Tree, clear_live
from daos.bio.tx import Tx
from daos.bio.wal import Wal, WalStatistics

__all__ = ["Hold", "MetaConfig", "MetaContext", "MetaStatistics", "Tx"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MetaStatistics:
    """State of one shard."""

    wal: WalStatistics
    space: SpaceStatistics
    tree_entries: int
    tree_pages: int
    # Blocks that `hold` can still give for data: free ones less the room for the next checkpoint.
    blocks_left: int
    checkpoints: int
    checkpoints_failed: int
    durable_lsn: int


class MetaContext:
    """Made by `open`. See the module for what it promises."""

    def __init__(
        self,
        device: BlockDevice,
        config: MetaConfig,
        superblock: Superblock,
        *,
        tree: Tree,
        space: Space,
        checkpoint: Checkpoint,
        end: ReplayEnd,
    ) -> None:
        self.device = device
        self.early_bytes = config.early_bytes
        # Makes the task of a checkpoint; None: it is the context's own.
        self.spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]] | None = None
        self.memory = AlignedPool(config.memory_bytes)
        self.space = space
        self._config = config
        self._superblock = superblock
        self._tree = tree
        self._checkpoint = checkpoint
        self._checkpoint_hint = Hint()
        self._checkpoint_task: asyncio.Task[None] | None = None
        self._checkpoint_lsn = -1  # boundary of the one that runs; -1: none runs
        self._copy_blocks = 0  # that the checkpoint under way holds or has taken
        self._checkpoint_again_at = 0  # blocks used; after a failure, the next try waits for more
        self._checkpoints = 0
        self._checkpoints_failed = 0
        self._closed = False
        self._close_task: asyncio.Task[None] | None = None
        ring_count = superblock.wal_count
        self._wal = Wal(
            device,
            end.ring,
            uuid=superblock.uuid,
            first_block=superblock.wal_first,
            generation=superblock.generation,
            lsn=end.lsn,
            epoch=end.epoch,
            group_bytes=min(config.group_bytes, max(BLOCK, ring_count // 8 * BLOCK)),
            data_bytes=config.group_data_bytes,
            on_durable=self._on_durable,
        )
        self._checkpoint_at = ring_count * config.checkpoint_percent // 100
        self._room = Room(
            space,
            count_pages=tree.pages,
            blocks_coming=self._blocks_coming,
            blocks_standing=self._blocks_standing,
            reclaim=self._reclaim,
            want_blocks=self.want_blocks,
        )
        self._room.settle()
        self._ahead = Ahead(device, space)
        # Bytes of log that one transaction may take: its keys and values and some overhead.
        self.record_size_max = self._wal.record_size_max
        # Every update asks for these: no call of ours between.
        self.hold = self._room.hold
        self.release = self._room.release
        self.when_durable = self._wal.when_durable

    @staticmethod
    async def format(device: BlockDevice, *, uuid: UUID, config: MetaConfig) -> None:
        """Make an empty shard; what was there is lost.

        Atomicity:  not interruptible: after a power cut, format again
        Raises:     InvalidError   the device is too small
                    NvmeIoError
        """
        wal_bytes = config.log_bytes(device.size_bytes)
        await format_device(device, uuid=uuid, wal_bytes=wal_bytes)

    @classmethod
    async def open(cls, device: BlockDevice, *, config: MetaConfig, live_path: Path) -> MetaContext:
        """Recover the shard; its live tree goes into the directory `live_path`.

        The device stays the caller's: close the context first, then the device.

        Raises:     CorruptError        names the damaged structure; nothing was changed
                    NotSupportedError   made by another version
                    NoSpaceError        the file system of `live_path` is full
                    NvmeIoError
        """
        superblock = await read_superblock(device)
        live_file = clear_live(live_path)
        checkpoint, space_map = await load_checkpoint(device, superblock, live_file)
        map_bytes = config.map_bytes or 4 * device.size_bytes + (1 << 30)
        tree = Tree(live_path, map_bytes=map_bytes, batch_sets=config.batch_sets)
        try:
            end = await replay(device, superblock, Applier(tree, space_map).apply)
            tree.commit_batch()
            tree.check()
            space = Space(superblock.data_first, superblock.data_count)
            try:
                for _ in space.loading(space_map, kept=checkpoint.extents):
                    await asyncio.sleep(0)  # other shards are served while this one is opened
            except InvalidError as error:
                raise CorruptError(
                    "checkpoint extents", offset=0, want="unused", got=error.message
                ) from error
            superblock = replace(
                superblock,
                generation=superblock.generation + 1,
                durable_lsn=end.lsn,
                epoch=end.epoch,
                clean=False,
            )
            zeros = memoryview(bytes(BLOCK))
            first = superblock.wal_first
            wipes = [Write((first + block) * BLOCK, [zeros]) for block in end.debris]
            # What was read may stand in the device's cache alone, if a flush failed before: both
            # slots would be in doubt.
            await write(device, [], flush=True)
            await write(device, [slot_write(superblock), *wipes], flush=True)
            return cls(
                device, config, superblock, tree=tree, space=space, checkpoint=checkpoint, end=end
            )
        except BaseException:
            tree.close()
            raise

    @property
    def uuid(self) -> UUID:
        return self._superblock.uuid

    @property
    def durable_lsn(self) -> Lsn:
        """The last group that a power cut cannot take back."""
        return self._wal.durable_lsn

    @property
    def lsn_next(self) -> Lsn:
        """Number of the open group: what a commit now would get, unless the group is full."""
        return self._wal.lsn_next

    @property
    def lsn_last(self) -> Lsn:
        """What the latest commit got: wait for it, and everything shown so far is durable."""
        return self._wal.lsn_last

    @property
    def epoch_highest(self) -> Epoch:
        """At least every epoch that `Tx.raise_epoch` was told of, also before the last restart."""
        return Epoch(self._wal.epoch)

    def get(self, key: bytes) -> bytes | None:
        """The value in the tree as of all commits. Cost: O(log n)."""
        return self._tree.get(key)

    def cursor(self) -> lmdb.Cursor[bytes]:
        """Over the tree as of all commits.

        Valid until the next `Tx.commit` or the end of the synchronous section, whichever is first.
        """
        return self._tree.cursor()

    def begin(self) -> Tx:
        return Tx(self._tree.get, self._commit)

    def _commit(self, tx: Tx) -> Lsn:
        pairs, runs, frees = tx.pairs, tx.runs, tx.frees
        if self._closed:
            raise ShutdownError("the shard is closed")
        if not pairs and not runs and not frees:
            return self._wal.lsn_last
        record = emit_record(pairs.items(), runs, frees)
        wal, space, tree = self._wal, self.space, self._tree
        try:
            lsn = wal.append(record, tx.writes, tx.data_bytes)
        except AgainError:
            self._start_checkpoint()
            raise
        freed = published = 0
        try:
            for extent in frees:
                space.free(extent, lsn=lsn)
                freed += 1
            for extent, _ in runs:
                space.publish(extent)
                published += 1
            tree.put_all(pairs, len(record))
        except DaosError:
            for extent, _ in reversed(runs[:published]):
                space.unpublish(extent)
            for extent in reversed(frees[:freed]):
                space.unfree(extent)
            wal.retract(record, tx.writes, tx.data_bytes)
            self._check_tree()
            raise
        if tree.failure is not None:
            self._check_tree()
        if tx.epoch > wal.epoch:
            wal.epoch = tx.epoch
        return lsn

    @property
    def log_has_room(self) -> bool:
        """Whether an update may begin. Those that have begun find room for their commits."""
        return self._wal.has_room

    def when_room(self, done: Done) -> None:
        """Call `done` once `log_has_room`, inline if it has.

        With NoSpaceError if the checkpoint that should make room cannot be written, with
        ShutdownError if there will be none.
        """
        if self._closed and not self._wal.has_room:
            done(ShutdownError("the shard is closed"))
            return
        self._wal.when_room(done)
        if not self._wal.has_room and self._wal.failure is None:
            self._start_checkpoint()

    async def durable(self, lsn: int) -> None:
        """Wait for group `lsn`. A cancelled caller changes nothing.

        Raises:     NvmeIoError, InvalidError, as `when_durable`
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: DaosError | None) -> None:
            if future.done():
                return  # cancelled
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._wal.when_durable(lsn, done)
        await future

    async def checkpoint(self) -> None:
        """Bring everything committed so far into a checkpoint, so that the log can forget it.

        A cancelled caller changes nothing: the checkpoint goes on.

        Raises:     NoSpaceError    it does not fit; the previous one stays in force
                    NvmeIoError
                    ShutdownError   the context is closed
        """
        if self._closed:
            raise ShutdownError("the shard is closed")
        lsn = self._wal.lsn_last
        while True:
            behind = self._checkpoint_lsn >= 0 and self._checkpoint_lsn < lsn
            await asyncio.shield(self._start_checkpoint())
            if not behind:
                return
            if self._closed:
                raise ShutdownError("the shard is closed")

    async def close(self, *, checkpoint: bool = True) -> None:
        """End of service; with a checkpoint, the next open replays nothing and proves all intact.

        Waits for what is in flight. A cancelled caller changes nothing: closing goes on. Later
        calls wait for the first.

        Raises:     NvmeIoError, NoSpaceError   no checkpoint was written; the context is closed
        """
        if self._close_task is not None:
            await asyncio.wait([self._close_task])
            return
        self._closed = True
        self._ahead.close()
        self._close_task = asyncio.get_running_loop().create_task(self._close(checkpoint))
        await asyncio.shield(self._close_task)

    async def _close(self, checkpoint: bool) -> None:
        try:
            if self._checkpoint_task is not None:
                await asyncio.wait([self._checkpoint_task])
            if checkpoint:
                await self._write_checkpoint(clean=True)
            else:
                with contextlib.suppress(DaosError):  # without a checkpoint, nothing is promised
                    await self.durable(self._wal.lsn_last)
        finally:
            if self._checkpoint_task is not None:  # the loop ends; threads may read the tree still
                await asyncio.wait([self._checkpoint_task])
            self._wal.fail(ShutdownError("the shard is closed"))
            self._tree.close()
            await self._wal.drained()

    def statistics(self) -> MetaStatistics:
        pages = self._room.recount()
        return MetaStatistics(
            wal=self._wal.statistics(),
            space=self.space.statistics(),
            tree_entries=self._tree.entries(),
            tree_pages=pages,
            blocks_left=max(0, self._room.blocks_left()),
            checkpoints=self._checkpoints,
            checkpoints_failed=self._checkpoints_failed,
            durable_lsn=self.durable_lsn,
        )

    def space_left(self) -> tuple[int, int]:
        """Blocks that can still be given to data, and all there are."""
        left = max(0, self._room.blocks_left())
        return left, self.space.statistics().blocks_total

    def _reclaim(self) -> int:
        return self.space.reclaim(durable_lsn=self.durable_lsn)

    def want_blocks(self) -> None:
        """Somebody found no space: what was freed last comes back also where nobody writes."""
        if self.space.blocks_aging and self._wal.idle and not self._closed:
            self._wal.seal(empty=True)  # it is there for the next try

    def _blocks_coming(self) -> int:
        """What the checkpoint that runs will take is held; then the one before it goes away."""
        return self._checkpoint.blocks if self._checkpoint_lsn > self._checkpoint.lsn else 0

    def _blocks_standing(self) -> int:
        """Of the checkpoint that will be in force when the next begins."""
        running = self._checkpoint_lsn > self._checkpoint.lsn
        return self._copy_blocks if running else self._checkpoint.blocks

    def _on_durable(self, lsn: int, data_bytes: int) -> None:
        """A group is durable, and nothing is in flight at this moment."""
        space, wal = self.space, self._wal
        space.reclaim(durable_lsn=lsn)
        if self._closed:
            return
        self._ahead.after_group(data_bytes, idle=wal.idle)
        if space.lsn_freed == lsn and wal.idle and space.blocks_free < space.blocks_aging * 4:
            # Space is short and what was freed last waits for a later group (space.py, I2).
            wal.seal(empty=True)
        used = wal.blocks_used
        if used > self._checkpoint_at and used >= self._checkpoint_again_at:
            self._start_checkpoint()

    def _start_checkpoint(self) -> asyncio.Task[None]:
        """The one that runs, or a new one. close() waits for it."""
        if self._checkpoint_task is None:
            spawn = self.spawn or asyncio.get_running_loop().create_task
            self._checkpoint_task = spawn(self._write_checkpoint())
            self._checkpoint_task.add_done_callback(self._checkpoint_ended)
        return self._checkpoint_task

    def _checkpoint_ended(self, task: asyncio.Task[None]) -> None:
        self._checkpoint_task = None
        if task.cancelled():
            return  # the loop ends
        error = task.exception()
        if error is None:
            self._checkpoint_again_at = 0
            if not self._wal.has_room and not self._closed:
                self._start_checkpoint()  # the log filled up meanwhile
            return
        self._checkpoint_again_at = self._wal.blocks_used + self._superblock.wal_count // 16
        if isinstance(error, DaosError):
            log.warning("checkpoint failed shard=%s error=%s", self.uuid, error)
            self._wal.refuse_room(error)
        else:
            self._wal.refuse_room(DaosError(f"checkpoint failed: {error!r}", code=DER.MISC))
            raise error  # our bug: the loop's handler tells it

    def _check_tree(self) -> None:
        """A live tree that lacks committed transactions ends the service of the shard."""
        if self._tree.failure is not None:
            self._wal.fail(self._tree.failure)

    async def _write_checkpoint(self, *, clean: bool = False) -> None:
        wal = self._wal
        if wal.failure is not None:
            raise wal.failure
        wal.seal()
        position, lsn = wal.head, wal.lsn_last
        self._checkpoint_lsn = lsn
        try:
            fresh = self._checkpoint
            if lsn != fresh.lsn:
                fresh = await self._copy_all(lsn)
            try:
                await self.durable(lsn)
                await self._swap_superblock(fresh, position % self._superblock.wal_count, clean)
            except BaseException:
                if fresh is not self._checkpoint:
                    for extent in fresh.extents:
                        self.space.drop(extent)
                raise
        except BaseException:
            self._checkpoints_failed += 1
            raise
        else:
            old, self._checkpoint = self._checkpoint, fresh
            if old is not fresh:
                for extent in old.extents:
                    self.space.drop(extent)
        finally:
            self._checkpoint_lsn = -1
            self._room.settle()  # before anybody takes it
        self._checkpoints += 1
        wal.trim(position)

    async def _copy_all(self, lsn: int) -> Checkpoint:
        """Copy tree and map as they are now: up to the first await nothing can change them."""
        self._tree.commit_batch()
        self._check_tree()
        self._tree.check()  # a copy would lack what the log is to forget
        pages = self._room.recount()
        space_map, blocks_allocated = self.space.snapshot_map(), self.space.blocks_allocated
        self._copy_blocks = checkpoint_blocks(pages, self.space.map_bytes_max)
        writer = CheckpointWriter(
            self.device,
            self.space,
            self._checkpoint_hint,
            hold_blocks=self._copy_blocks,
            room=self._room.manifest,
        )
        try:
            try:
                txn = self._tree.env.begin()
            except lmdb.Error as error:
                raise NvmeIoError(f"live tree: {error}") from error
            try:
                copy = self._config.start_copy(self._tree.env, txn)
                try:
                    tree_size = 0
                    while (chunk := await copy.next_chunk()) is not None:
                        tree_size += len(chunk)
                        await writer.write_stream(chunk)
                finally:
                    await copy.close()
            finally:
                txn.abort()
            for part in space_map.emit():
                await writer.write_stream(memoryview(part))
            fresh = await writer.finish(
                uuid=self.uuid, lsn=lsn, tree_size=tree_size, blocks_allocated=blocks_allocated
            )
        except BaseException:
            writer.abandon()
            raise
        self._copy_blocks = fresh.blocks  # what it held beyond them is free again
        return fresh

    async def _swap_superblock(self, fresh: Checkpoint, replay_block: int, clean: bool) -> None:
        superblock = replace(
            self._superblock,
            generation=self._superblock.generation + 1,
            replay_block=replay_block,
            checkpoint_lsn=fresh.lsn,
            durable_lsn=self._wal.durable_lsn,
            epoch=self._wal.epoch,
            manifest=fresh.manifest,
            manifest_sum=fresh.manifest_sum,
            clean=clean,
        )
        try:
            await write(self.device, [slot_write(superblock)], flush=True)
        except DaosError as error:
            self._wal.fail(error)
            raise
        except asyncio.CancelledError:  # the loop ends; which superblock is in force is not known
            self._wal.fail(ShutdownError("interrupted while a superblock was written"))
            raise
        self._superblock = superblock
        self._wal.generation = superblock.generation
