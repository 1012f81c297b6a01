"""Ten restore points of two disks, restored in any order onto disks that are in any state."""

import random
import threading

import pytest

from blocks.catalog.point import VolumeImage
from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings, capture_volume
from tasks.recovery import restore_volume
from tasks.transfer import Progress

EXTENT = 4096
POINTS = 10
SIZES = {"hdisk18": 301 * EXTENT + 17, "hdisk19": 120 * EXTENT}
UIDS = {disk: f"600507640081{number:020X}" for number, disk in enumerate(SIZES)}


class Disk:
    """A disk in memory."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.size_bytes = len(data)

    def read_into(self, offset, buffer):
        buffer[:] = self.data[offset : offset + len(buffer)]

    def data_runs(self):
        yield 0, len(self.data)

    def write(self, offset, data):
        self.data[offset : offset + len(data)] = data

    def zero(self, offset, length):
        self.data[offset : offset + length] = bytes(length)

    def flush(self):
        pass


def capture(disk, data, store, number, parent):
    done = capture_volume(
        Disk(data),
        store,
        folder=f"RG1/{number:02}/",
        name=f"c_RG1_VG1_{disk}.{number}",
        uid=UIDS[disk],
        parent=parent,
        settings=CaptureSettings(
            extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20, segment_bytes=48 * EXTENT
        ),
        stop=threading.Event(),
        progress=Progress(),
    )
    image = VolumeImage(
        name=disk,
        uid=UIDS[disk],
        size_bytes=done.size_bytes,
        disk=disk,
        extent_bytes=done.extent_bytes,
        map_digest=done.map_digest,
        pages=done.pages,
        read_bytes=done.read_bytes,
        zero_bytes=done.zero_bytes,
        changed_bytes=done.changed_bytes,
        stored_bytes=done.stored_bytes,
        image_keys=done.image_keys,
    )
    return image, done.objects


def changed(dice, data):
    after = bytearray(data)
    for _ in range(dice.randrange(1, 8)):
        at = dice.randrange(len(after))
        length = min(dice.choice([1, 700, EXTENT, 11 * EXTENT]), len(after) - at)
        after[at : at + length] = bytes(length) if dice.random() < 0.4 else dice.randbytes(length)
    return bytes(after)


@pytest.mark.parametrize("seed", range(5))
def test_every_point_of_ten_is_restored_in_random_order_onto_dirty_disks(seed):
    dice = random.Random(seed)
    store = MemoryStore()
    data = {disk: dice.randbytes(size // 2).ljust(size, b"\0") for disk, size in SIZES.items()}
    points, parents = [], dict.fromkeys(SIZES)
    for number in range(POINTS):
        parents = {disk: capture(disk, data[disk], store, number, parents[disk]) for disk in SIZES}
        points.append((data, parents))
        data = {disk: changed(dice, data[disk]) for disk in SIZES}
    # Each restore but the first finds on the disk what the one before it left there.
    targets = {disk: Disk(dice.randbytes(size + 3 * EXTENT)) for disk, size in SIZES.items()}
    rests = {disk: bytes(targets[disk].data[size:]) for disk, size in SIZES.items()}
    dice.shuffle(points)
    for expected, images in points:
        for disk, (image, objects) in images.items():
            restore_volume(
                image,
                objects,
                store,
                targets[disk],
                bookmark=None,
                stop=threading.Event(),
                progress=Progress(),
            )
            assert targets[disk].data[: SIZES[disk]] == expected[disk]
            assert targets[disk].data[SIZES[disk] :] == rests[disk], "past the volume"
