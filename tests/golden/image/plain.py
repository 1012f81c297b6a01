"""The plain bytes behind the golden files, made from SHA-256 alone so that no library can drift."""

from hashlib import sha256

EXTENT = 4096
SIZE = 26 * EXTENT + 100


def noise(seed: str, length: int) -> bytes:
    blocks = (sha256(f"{seed}:{n}".encode()).digest() for n in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def first_day() -> bytes:
    """Noise, text, zeros; the last extent is short and holds data."""
    text = b"".join(b"row %06d of the table\n" % n for n in range(3000))
    disk = bytearray(SIZE)
    disk[: 5 * EXTENT] = noise("first", 5 * EXTENT)
    disk[5 * EXTENT : 11 * EXTENT] = text[: 6 * EXTENT]
    disk[18 * EXTENT : 21 * EXTENT] = noise("second", 3 * EXTENT)
    disk[26 * EXTENT :] = text[:100]
    return bytes(disk)


def second_day() -> bytes:
    """Some changed, some became zero, some that were zero hold data; the last extent changed."""
    disk = bytearray(first_day())
    disk[EXTENT + 7] ^= 0xFF
    disk[3 * EXTENT : 6 * EXTENT] = bytes(3 * EXTENT)
    disk[13 * EXTENT + 50 : 15 * EXTENT] = noise("third", 2 * EXTENT - 50)
    disk[26 * EXTENT :] = b"\xaa" * 100
    return bytes(disk)
