"""How time and memory of a full grow with the disk and with its extents; draws growth.svg.

`.venv/bin/python tests/bench/growth.py FOLDER SVG`. Seconds are those of the processor (user and
system), which a busy machine changes less than the clock. Sparse disks hold one extent of data.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import image

GIB = 1 << 30
BENCH = [
    (1 * GIB, 256),
    (4 * GIB, 256),
    (16 * GIB, 256),
    (1 * GIB, 64),
    (1 * GIB, 16),
    (1 * GIB, 4),
    (4 * GIB, 4),
]
MANY = 10_000_000
"""Extents of 4 KiB with data in each: 24 bytes, so that a file system that compresses has room."""

SPARSE = [(256 * GIB, 256), (1024 * GIB, 256), (4096 * GIB, 256), (16 * 1024 * GIB - 4096, 256)]
WIDTH, HEIGHT, EDGE = 620, 300, 50


def measure(path: Path, extent_kib: int, store: Path) -> dict[str, float]:
    """Store a disk in full in a process of its own."""
    # VmHWM, since ru_maxrss also counts the pages of the process that started this one.
    code = (
        "import resource,sys; from deployments.cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "[peak] = [line.split()[1] for line in lines if line.startswith('VmHWM')]\n"
        "print(used.ru_utime + used.ru_stime, peak, file=sys.stderr)\n"
    )
    options = ["--to", f"file://{store}", "--name", "g", "--extent", f"{extent_kib}KiB", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, "image", "put", str(path), *options],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, peak = done.stderr.split()[-2:]
    subprocess.run(["rm", "-r", str(store)], check=True)
    size = path.stat().st_size
    return {
        "gib": size / GIB,
        "extents": -(-size // (extent_kib * 1024)),
        "cpu_s": round(float(seconds), 2),
        "peak_mib": int(peak) // 1024,
    }


def build_many(path: Path) -> None:
    """Write the disk of many extents, each unlike every other."""
    dice, batch = np.random.default_rng(7), 4096
    with path.open("wb") as file:
        for first in range(0, MANY, batch):
            count = min(batch, MANY - first)
            extents = np.zeros((count, 4096), np.uint8)
            extents[:, :16] = dice.integers(0, 256, (count, 16), dtype=np.uint8)
            numbers = np.arange(first, first + count, dtype="<u8")
            extents[:, 100:108] = numbers.view(np.uint8).reshape(count, 8)
            file.write(extents.tobytes())


def draw(title: str, rows: dict[str, list[tuple[float, float]]], across: str) -> str:
    """Draw lines over a logarithmic axis, from zero upwards."""
    import math

    points = [point for line in rows.values() for point in line]
    low, high = (math.log10(edge(x for x, _ in points)) for edge in (min, max))
    top = max(y for _, y in points) * 1.15

    def place(x: float, y: float) -> tuple[float, float]:
        span = (math.log10(x) - low) / max(high - low, 0.001)
        return EDGE + span * (WIDTH - 2 * EDGE - 60), HEIGHT - EDGE - y / top * (HEIGHT - 2 * EDGE)

    parts = [f'<text x="{EDGE}" y="22" font-weight="bold">{title}</text>']
    parts.append(
        f'<path d="M{EDGE} {EDGE - 10}V{HEIGHT - EDGE}H{WIDTH - 70}" fill="none" stroke="#888"/>'
    )
    parts.append(f'<text x="{EDGE}" y="{HEIGHT - 8}">{across}</text>')
    for (name, line), colour in zip(rows.items(), ("#0f62fe", "#b35900", "#198038"), strict=False):
        spots = [place(x, y) for x, y in sorted(line)]
        path = "L".join(f"{x:.0f} {y:.0f}" for x, y in spots)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (value, amount) in zip(spots, sorted(line), strict=True):
            parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{colour}"/>')
            parts.append(f'<text x="{x:.0f}" y="{y - 7:.0f}" fill="{colour}">{amount:g}</text>')
            label = f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.0f}M"
            parts.append(f'<text x="{x - 8:.0f}" y="{HEIGHT - EDGE + 15}">{label}</text>')
        x, y = spots[-1]
        parts.append(f'<text x="{x + 12:.0f}" y="{y + 12:.0f}" fill="{colour}">{name}</text>')
    return "".join(parts)


Rows = dict[str, list[dict[str, float]]]


def measure_all(folder: Path) -> Rows:
    """Measure every disk, printing each line as it comes."""
    rows: Rows = {"bench image": [], "sparse": [], "little in each": []}

    def add(kind: str, path: Path, extent_kib: int) -> None:
        rows[kind].append(measure(path, extent_kib, folder / "store"))
        print(json.dumps({"disk": kind, **rows[kind][-1]}), flush=True)

    for size, extent in BENCH:
        path = folder / f"{size // GIB}g.img"
        image.build(path, size)
        add("bench image", path, extent)
    for size, extent in SPARSE:
        path = folder / "sparse.img"
        with path.open("wb") as file:
            file.truncate(size)
            file.write(b"data")
        add("sparse", path, extent)
        path.unlink()
    many = folder / "many.img"
    if not many.exists():
        build_many(many)
    add("little in each", many, 4)
    return rows


def picture(rows: Rows) -> str:
    """Draw the panels, one below the other."""
    bench, sparse = rows["bench image"], rows["sparse"]
    panels = [
        (
            "The bench image, seconds of processor for a full",
            {
                f"{gib} GiB": [(row["extents"], row["cpu_s"]) for row in bench if row["gib"] == gib]
                for gib in (1, 4)
            },
            "extents",
        ),
        (
            "Sparse disks of 256 GiB to 16 TiB, seconds of processor for a full",
            {"seconds": [(row["extents"], row["cpu_s"]) for row in sparse]},
            "extents of 256 KiB",
        ),
        (
            "Peak memory, MiB",
            {
                kind: [(row["extents"], row["peak_mib"]) for row in found]
                for kind, found in rows.items()
            },
            "extents",
        ),
    ]
    height = HEIGHT * len(panels)
    body = "".join(
        f'<g transform="translate(0 {HEIGHT * number})">{draw(*panel)}</g>'
        for number, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
        f"{body}</svg>\n"
    )


def main() -> None:
    """Measure everything and draw it; the numbers go to stdout."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ["DO_NOT_TRACK"] = "1"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target.write_text(picture(measure_all(folder)))


if __name__ == "__main__":
    main()
