"""Backs up a sparse disk twice and reads some of it back, in a process of its own (see the test).

Prints one JSON document: seconds and what was stored, and the peak of the process's memory.
"""

import json
import random
import sys
import time
from pathlib import Path

from captured import capture as capture_disk

from blocks.host.local import LocalReader
from blocks.store.directory import DirectoryStore
from tasks.pipeline import CaptureSettings
from tasks.proven_reads import read_range

UID = "6005076400810000000000000000000A"
PIECE = 300_000


def peak_mib():
    """Return our own peak memory; ru_maxrss would begin with that of the process we came from."""
    [line] = [row for row in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in row]
    return int(line.split()[1]) // 1024


def places(seed, size, count):
    """Choose where data is: some at either end, the rest anywhere, never touching another."""
    dice = random.Random(seed)
    chosen = {0, size - PIECE}
    while len(chosen) < count:
        place = dice.randrange(0, size - PIECE)
        if all(abs(place - other) > PIECE for other in chosen):
            chosen.add(place)
    return sorted(chosen)


def write(path, seed, where):
    dice = random.Random(seed)
    written = {}
    with path.open("r+b") as file:
        for place in where:
            written[place] = dice.randbytes(PIECE)
            file.seek(place)
            file.write(written[place])
    return written


def capture(path, store, folder, parent):
    began = time.monotonic()
    reader = LocalReader(path)
    taken, captured = capture_disk(reader, store, folder, settings=CaptureSettings(), parent=parent)
    seconds = time.monotonic() - began
    reader.close()
    assert captured.is_full == (parent is None), captured.warning
    return taken, seconds


def check(taken, store, written):
    image, objects = taken
    for place, data in written.items():
        low, high = max(place - 1000, 0), min(place + PIECE + 1000, image.size_bytes)
        around = read_range(image, objects, store, low, high - low)
        assert around[place - low : place - low + PIECE] == data, place
        assert not any(around[: place - low]), place
        assert not any(around[place - low + PIECE :]), place


def main(folder, size):
    disk, store = folder / "disk", DirectoryStore(folder / "store")
    with disk.open("wb") as file:
        file.truncate(size)
    first_places = places(1, size, 40)
    written = write(disk, 1, first_places)
    first, full_s = capture(disk, store, "RG/1/", None)
    second_places = [place for place in places(2, size, 12) if place not in written]
    second_places = [
        place for place in second_places if all(abs(place - other) > 4 * PIECE for other in written)
    ]
    added = write(disk, 2, second_places)
    second, incremental_s = capture(disk, store, "RG/2/", first)
    check(first, store, {place: written[place] for place in first_places[:3] + first_places[-3:]})
    latest = written | added
    check(second, store, {place: latest[place] for place in [0, *second_places, size - PIECE]})
    seen = {
        "pages": len(first[0].pages),
        "full_s": round(full_s, 2),
        "incremental_s": round(incremental_s, 2),
        "stored_bytes": first[0].stored_bytes,
        "added_bytes": second[0].stored_bytes,
        "read_bytes": first[0].read_bytes,
        "map_is_new": first[0].map_digest != second[0].map_digest,
        "peak_mib": peak_mib(),
    }
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
