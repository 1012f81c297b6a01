"""The seeded 4 GiB image of docs/explanation/performance.md, and its second day.

25 % zeros, 30 % database pages, 20 % text and binaries, 25 % that no one can compress, in runs of
1 to 32 MiB. The second day: 600 scattered writes of 8 to 64 KiB and one run of 40 MiB.
"""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import numpy as np

MIB = 1 << 20
PAGE = 8192
SHARES = (("zero", 0.25), ("database", 0.30), ("files", 0.20), ("noise", 0.25))
SEED = 20_261_122


def build(path: Path, size_bytes: int) -> None:
    """Make the first day, if it is not there."""
    if path.exists() and path.stat().st_size == size_bytes:
        return
    dice = random.Random(SEED)
    numbers = np.random.default_rng(SEED)
    words = _words()
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        left = {kind: int(size_bytes * share) for kind, share in SHARES}
        while any(left.values()):
            kind = dice.choices(list(left), weights=list(left.values()))[0]
            length = min(dice.randrange(1, 33) * MIB, left[kind])
            left[kind] -= length
            file.write(_make(kind, length, dice, numbers, words))
        file.truncate(size_bytes)
    partial.rename(path)


def next_day(first: Path, second: Path) -> None:
    """Make the second day from the first, if it is not there."""
    if second.exists() and second.stat().st_size == first.stat().st_size:
        return
    dice = random.Random(SEED + 1)
    numbers = np.random.default_rng(SEED + 1)
    partial = second.with_suffix(".partial")
    shutil.copyfile(first, partial)
    size = first.stat().st_size
    with partial.open("r+b") as file:
        for _ in range(600):
            length = dice.randrange(2, 17) * 4096
            file.seek(dice.randrange(0, (size - length) // 4096) * 4096)
            file.write(_pages(length, numbers)[:length])
        file.seek(dice.randrange(0, (size - 40 * MIB) // MIB) * MIB)
        file.write(_pages(40 * MIB, numbers))
    partial.rename(second)


def _make(
    kind: str,
    length: int,
    dice: random.Random,
    numbers: np.random.Generator,
    words: list[bytes],
) -> bytes:
    if kind == "zero":
        return bytes(length)
    if kind == "noise":
        return numbers.bytes(length)
    if kind == "database":
        return _pages(length, numbers)
    return _files(length, dice, words)


def _pages(length: int, numbers: np.random.Generator) -> bytes:
    """Make database pages: a header, rows of small numbers and repeated keys, free space."""
    count = -(-length // PAGE)
    pages = np.zeros((count, PAGE), dtype=np.uint8)
    pages[:, :24] = numbers.integers(0, 256, (count, 24), dtype=np.uint8)
    rows = numbers.integers(0, 16, (count, 6000), dtype=np.uint8)
    rows[:, ::8] = numbers.integers(0, 256, (count, 750), dtype=np.uint8)
    pages[:, 24:6024] = rows
    return pages.tobytes()[:length]


def _files(length: int, dice: random.Random, words: list[bytes]) -> bytes:
    """Make half text, half what looks like programs: short runs of repeated patterns."""
    text = b" ".join(dice.choices(words, k=length // 12))
    patterns = [dice.randbytes(dice.randrange(4, 40)) for _ in range(4000)]
    code = b"".join(dice.choices(patterns, k=length // 40))
    data = text + code
    return (data * (length // len(data) + 1))[:length]


def _words() -> list[bytes]:
    dice = random.Random(SEED)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    return [
        "".join(dice.choices(letters, weights=range(26, 0, -1), k=dice.randrange(2, 11))).encode()
        for _ in range(20_000)
    ]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    build(folder / "day1.img", int(sys.argv[2]) * MIB)
    next_day(folder / "day1.img", folder / "day2.img")
