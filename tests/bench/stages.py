"""What one GiB of the bench image costs in each stage of a capture, in seconds of one core.

CPU time of the thread, not the clock, so that a busy machine changes little. Run it by hand:
`.venv/bin/python tests/bench/stages.py FOLDER [MIB]`; the image is made in FOLDER if it is missing.
"""

import hashlib
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import image

from blocks.host.local import LocalReader
from blocks.image.codec import Codec, same_bytes
from blocks.image.digest import Digester
from blocks.image.extents import zero_mask

EXTENT = 256 * 1024
BATCH = 16 * EXTENT


def stages(path: Path) -> dict[str, float]:
    """Take the image through each stage, one after the other, on one thread."""
    spent: Counter[str] = Counter()
    reader, codec, digester = LocalReader(path), Codec(), Digester()
    buffer = bytearray(BATCH)
    part = bytearray(BATCH + EXTENT)

    def timed(stage, work, *arguments):
        began = time.thread_time()
        answer = work(*arguments)
        spent[stage] += time.thread_time() - began
        return answer

    for offset in range(0, reader.size_bytes, BATCH):
        view = memoryview(buffer)[: min(BATCH, reader.size_bytes - offset)]
        timed("read", reader.read_into, offset, view)
        zeros = timed("find zeros", zero_mask, view, EXTENT)
        for index in range(len(zeros)):
            if not zeros[index]:
                at = index * EXTENT
                timed("BLAKE3 of extents", digester.of, view[at : at + EXTENT])
        if zeros.all():
            continue
        shrinks = timed("probe", codec._shrinks, view)
        compressor = codec._compressor if shrinks else codec._fast
        frame = timed("zstd -1", compressor.compress, view)
        again = timed("decode again", codec.decode, frame, len(view))
        assert timed("compare", same_bytes, again, view)
        timed("copy into a part", part.__setitem__, slice(0, len(frame)), frame)
        timed("BLAKE3 of the object", digester.of, frame)
        timed("SHA-256 (not used)", hashlib.sha256, frame)
    reader.close()
    gib = path.stat().st_size / (1 << 30)
    return {stage: round(seconds / gib, 3) for stage, seconds in spent.items()}


def whole(path: Path, store: Path) -> dict[str, float]:
    """Store the image with the command, and say what the process used."""
    command = [str(Path(sys.executable).with_name("flashvault")), "image", "put", str(path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(
        [*command, "--to", f"file://{store}", "--name", "db", "--json"],
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "user_s": round(after.ru_utime - before.ru_utime, 2),
        "system_s": round(after.ru_stime - before.ru_stime, 2),
        "clock_s": round(time.monotonic() - began, 2),
        "peak_mib": after.ru_maxrss // 1024,
    }


def main() -> None:
    """Measure three times and take the least: what disturbs only adds."""
    folder = Path(sys.argv[1])
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    path = folder / "day1.img"
    image.build(path, size * image.MIB)
    runs = [stages(path) for _ in range(3)]
    print(json.dumps({stage: min(run[stage] for run in runs) for stage in runs[0]}, indent=1))
    print(json.dumps(whole(path, folder / "store-of-stages")))


if __name__ == "__main__":
    main()
