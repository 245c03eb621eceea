"""What a power cut may leave behind: devices that keep a journal, and images cut from it.

A `RecordingDirectory` writes every event of all its devices into one `Journal`, in the order in
which they reached the devices. A test notes `len(journal)` whenever something is acknowledged, and
later asks for `journal.image(cut, rng)`: the devices as they may be found when the power failed
right after event number `cut`.

    events      Create  Write  Write  Flush  Write  Write | Write ...
    durable     <----------------------------> ^      ^   |
    in doubt: any subset, torn at 512 bytes    +------+   cut

For each 4 KiB block written since its device's last flush, the image holds the durable content or
that of any write since (`torn`: each 512-byte sector decides for itself). Creation and removal of
a device are durable when they are recorded, as the seam promises.

Cost: images are cut in order of `cut` in O(events since the last one + blocks in doubt + blocks of
the device); going backwards starts over. Blocks are shared, so an image takes little memory.

Source: ours; the sector rule is that of the NVMe specification (atomic write unit 1 block of 512).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, NamedTuple

from daos.bio.device import BLOCK, Done, check_range
from daos.testing.devices import Image, MemoryDevice, MemoryDirectory

SECTOR: Final = 512
_ZEROS: Final = bytes(BLOCK)

Keep = Literal["some", "none", "all"]


class CreateEvent(NamedTuple):
    device: str
    size_bytes: int


class WriteEvent(NamedTuple):
    device: str
    offset: int
    data: bytes


class FlushEvent(NamedTuple):
    device: str


class DestroyEvent(NamedTuple):
    device: str


Event = CreateEvent | WriteEvent | FlushEvent | DestroyEvent


class Journal:
    """All that happened to the devices, from `base` on."""

    def __init__(self, base: Mapping[str, Image] | None = None) -> None:
        self.events: list[Event] = []
        self._base = {name: image.copy() for name, image in (base or {}).items()}
        self._replay = _Replay(self._base)

    def __len__(self) -> int:
        return len(self.events)

    def image(
        self,
        cut: int,
        rng: random.Random | None = None,
        *,
        keep: Keep = "some",
        torn: bool = True,
    ) -> dict[str, Image]:
        """The devices after a power cut behind the first `cut` events.

        `keep` is what becomes of writes in doubt: "none" and "all" need no `rng`, "some" draws
        how many, then which. The images are the caller's to change.
        """
        assert 0 <= cut <= len(self.events), f"cut {cut} of {len(self.events)} events"
        assert rng is not None or keep != "some", "a random subset needs a generator"
        if cut < self._replay.position:
            self._replay = _Replay(self._base)
        while self._replay.position < cut:
            self._replay.step(self.events[self._replay.position])
        images = {}
        for name in sorted(self._replay.durable):
            image = self._replay.durable[name].copy()
            if keep == "all":
                for block, versions in self._replay.doubtful[name].items():
                    image.blocks[block] = versions[-1]
            elif keep == "some" and rng is not None:
                keep_some(image, self._replay.doubtful[name], rng, torn=torn)
            images[name] = image
        return images


class _Replay:
    """The state of the devices after `position` events."""

    def __init__(self, base: Mapping[str, Image]) -> None:
        self.position = 0
        self.durable = {name: image.copy() for name, image in base.items()}
        # By device and block: contents written since the last flush, oldest first.
        self.doubtful: dict[str, dict[int, list[bytes]]] = {name: {} for name in base}

    def step(self, event: Event) -> None:
        self.position += 1
        match event:
            case CreateEvent(device, size_bytes):
                self.durable[device] = Image(size_bytes)
                self.doubtful[device] = {}
            case WriteEvent(device, offset, data):
                doubtful = self.doubtful[device]
                for block, lo in enumerate(range(0, len(data), BLOCK), offset // BLOCK):
                    doubtful.setdefault(block, []).append(data[lo : lo + BLOCK])
            case FlushEvent(device):
                blocks = self.durable[device].blocks
                for block, versions in self.doubtful[device].items():
                    blocks[block] = versions[-1]
                self.doubtful[device] = {}
            case DestroyEvent(device):
                del self.durable[device], self.doubtful[device]


def keep_some(
    image: Image, doubtful: Mapping[int, list[bytes]], rng: random.Random, *, torn: bool
) -> None:
    # Swarm: some cuts lose nearly all, some nearly nothing, some tear every block.
    kept = rng.choice((0.1, 0.5, 0.9))
    torn_share = rng.choice((0.0, 0.2, 1.0)) if torn else 0.0
    for block, versions in doubtful.items():
        old = image.blocks.get(block, _ZEROS)
        if rng.random() < torn_share:
            pieces = []
            for lo in range(0, BLOCK, SECTOR):
                version = rng.choice(versions) if rng.random() < kept else old
                pieces.append(version[lo : lo + SECTOR])
            image.blocks[block] = b"".join(pieces)
        elif rng.random() < kept:
            # The newest is the likely one; an older one may be what the cache had written out.
            image.blocks[block] = versions[-1] if rng.random() < 0.5 else rng.choice(versions)


class RecordingDevice(MemoryDevice):
    """A MemoryDevice whose writes and flushes go into a journal, before their `done`.

    With `prepares`, blocks that may be prepared are overwritten.
    """

    def __init__(
        self,
        size_bytes: int,
        *,
        journal: Journal,
        name: str = "memory",
        image: Image | None = None,
        prepares: bool = False,
    ) -> None:
        super().__init__(size_bytes, name=name, image=image)
        self.journal = journal
        self.prepares = prepares

    def submit_prepare(self, offset: int, nbytes: int, done: Done) -> None:
        """The worst that is allowed: the content is lost."""
        check_range(self.size_bytes, offset, nbytes)
        self._submit(partial(self._land, offset, b"lost" * (nbytes // 4)), done)

    def _land(self, offset: int, data: bytes) -> None:
        super()._land(offset, data)
        self.journal.events.append(WriteEvent(self.name, offset, data))

    def _flush(self) -> None:
        self.journal.events.append(FlushEvent(self.name))


class RecordingDirectory(MemoryDirectory):
    """A MemoryDirectory with one journal over all its devices."""

    def __init__(self, images: dict[str, Image] | None = None, *, prepares: bool = False) -> None:
        super().__init__(images)
        self.journal = Journal(self.images)
        self._prepares = prepares

    def _make(self, name: str, image: Image) -> MemoryDevice:
        return RecordingDevice(
            image.size_bytes,
            journal=self.journal,
            name=name,
            image=image,
            prepares=self._prepares,
        )

    def _created(self, name: str, size_bytes: int) -> None:
        self.journal.events.append(CreateEvent(name, size_bytes))

    def _destroyed(self, name: str) -> None:
        self.journal.events.append(DestroyEvent(name))
