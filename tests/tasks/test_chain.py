"""Ten restore points of two disks, restored in any order onto disks that are in any state."""

import random
import threading

import captured
import pytest
from memory_disk import MemoryDisk

from blocks.store.memory import MemoryStore
from tasks.pipeline import CaptureSettings
from tasks.recovery import restore_volume
from tasks.transfer import Progress

EXTENT = 4096
POINTS = 10
SIZES = {"hdisk18": 301 * EXTENT + 17, "hdisk19": 120 * EXTENT}
UIDS = {disk: f"600507640081{number:020X}" for number, disk in enumerate(SIZES)}


def capture(disk, data, store, number, parent):
    taken, _ = captured.capture(
        MemoryDisk(data),
        store,
        f"RG1/{number:02}/",
        settings=CaptureSettings(
            extent_bytes=EXTENT, frame_extents=4, part_bytes=5 << 20, segment_bytes=48 * EXTENT
        ),
        parent=parent,
        name=f"c_RG1_VG1_{disk}.{number}",
        volume=disk,
        uid=UIDS[disk],
        disk=disk,
    )
    return taken


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
    targets = {disk: MemoryDisk(dice.randbytes(size + 3 * EXTENT)) for disk, size in SIZES.items()}
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
