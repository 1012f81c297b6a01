"""Extents into one frame, and back: compress, seal, prove decodable.

A codec belongs to one thread: zstd contexts are kept between frames and are not shared.
"""

from __future__ import annotations

import ctypes

import numpy as np
import zstandard

from blocks.errors import CorruptData, WrongKey
from blocks.image.cipher import FramePlace, ObjectOpener, ObjectSealer
from blocks.image.digest import Digester
from blocks.image.layout import FrameHeader, FrameKind

Buffer = bytes | bytearray | memoryview

PROBE_PIECE_BYTES = 4096
PROBE_STEP_BYTES = 128 * 1024
PROBE_KEEPS = 0.97
"""A frame whose sampled pieces shrink to no less than this share is stored uncompressed."""

_RUN_LENGTH_BLOCK = 1

# numpy compares into an array of booleans first, and Python's memoryview value by value.
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

FAST_LEVEL = -100
"""zstd's quickest way through data that does not shrink: raw blocks, checksum included."""


class Codec:
    """Encodes and decodes frames on one thread."""

    def __init__(self, *, level: int = 1, compress: bool = True) -> None:
        self._compress = compress
        self._compressor = zstandard.ZstdCompressor(
            level=level, write_content_size=True, write_checksum=True
        )
        self._fast = zstandard.ZstdCompressor(
            level=FAST_LEVEL, write_content_size=True, write_checksum=True
        )
        self._probe = zstandard.ZstdCompressor(level=1, write_checksum=False)
        self._decompressor = zstandard.ZstdDecompressor()

    def encode(self, plain: memoryview) -> bytes:
        """Return a zstd frame of the bytes, after decoding it again and comparing.

        Raises:
            CorruptData: the compressor wrote what does not decode to its input; nothing of it has
                left this machine.
        """
        worthwhile = self._compress and self._shrinks(plain)
        frame = (self._compressor if worthwhile else self._fast).compress(plain)
        again = self._decompressor.decompress(frame, max_output_size=len(plain))
        if not same_bytes(again, plain):
            raise CorruptData(
                "a frame just compressed does not decode to its input",
                hint="Memory or processor of this machine are faulty: do not trust it.",
            )
        return frame

    def decode(self, frame: Buffer, plain_bytes: int) -> bytes:
        """Return the plain bytes of a zstd frame.

        Raises:
            CorruptData: it is damaged, or has another length.
        """
        return decompress(frame, plain_bytes, self._decompressor)

    def _shrinks(self, plain: memoryview) -> bool:
        if len(plain) < 4 * PROBE_PIECE_BYTES:
            return True
        pieces = [
            plain[at : at + PROBE_PIECE_BYTES] for at in range(0, len(plain), PROBE_STEP_BYTES)
        ]
        sample = b"".join(pieces)
        return len(self._probe.compress(sample)) < PROBE_KEEPS * len(sample)


def decompress(
    frame: Buffer, plain_bytes: int, decompressor: zstandard.ZstdDecompressor | None = None
) -> bytes:
    """Return the plain bytes of one zstd frame with nothing after it.

    The length a frame claims is compared first: memory is taken for what is expected, never for
    what damaged bytes ask for.

    Raises:
        CorruptData: it is damaged, or has another length.
    """
    try:
        claimed = zstandard.frame_content_size(frame)
        if claimed != plain_bytes:
            raise CorruptData(f"a frame holds {claimed} bytes instead of {plain_bytes}")
        return (decompressor or zstandard.ZstdDecompressor()).decompress(
            frame, max_output_size=plain_bytes, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptData(f"a frame does not decompress: {error}") from error


def frame_bytes(data: Buffer) -> int:
    """Return the length of the zstd frame that `data` begins with, from its block headers.

    Raises:
        CorruptData: there is no whole frame (RFC 8878 §3.1.1).
    """
    view = memoryview(data)
    try:
        at = zstandard.frame_header_size(view)
        has_checksum = zstandard.get_frame_parameters(view).has_checksum
    except zstandard.ZstdError as error:
        raise CorruptData(f"there is no zstd frame: {error}") from error
    is_last = False
    while not is_last:
        head = int.from_bytes(view[at : at + 3], "little")
        if at + 3 > len(view):
            raise CorruptData("a zstd frame is cut off")
        is_last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        at += 3 + (1 if kind == _RUN_LENGTH_BLOCK else size)
    at += 4 if has_checksum else 0
    if at > len(view):
        raise CorruptData("a zstd frame is cut off")
    return at


def same_bytes(one: Buffer, other: Buffer) -> bool:
    """Say whether two buffers are equal; the interpreter lock is not held while comparing."""
    if len(one) != len(other):
        return False
    if not len(one):
        return True
    left, right = np.frombuffer(one, dtype=np.uint8), np.frombuffer(other, dtype=np.uint8)
    return bool(_memcmp(left.ctypes.data, right.ctypes.data, len(left)) == 0)


def seal_frame(frame: bytes, sealer: ObjectSealer, place: FramePlace) -> bytes:
    """Return a frame as it is stored when encrypted, after opening it again and comparing.

    Raises:
        CorruptData: what was sealed does not open to its input; nothing of it has left.
    """
    sealed = sealer.seal(place, frame)
    if sealer.open(place, sealed) != frame:
        raise CorruptData("a frame just sealed does not open to its input")
    return sealed


def open_frame(
    header: FrameHeader, payload: memoryview, opener: ObjectOpener | None, volume: str
) -> Buffer:
    """Return the zstd frame in a stored payload.

    Raises:
        CorruptData: it does not authenticate, or is no frame of data.
        WrongKey: it is sealed and there is no key for it.
    """
    if header.kind is FrameKind.ZSTD:
        return payload
    if header.kind is not FrameKind.SEALED:
        raise CorruptData("a run of zeros stands where a frame of data should be")
    if opener is None:
        raise WrongKey("the image is encrypted and no key was given")
    place = FramePlace(volume, header.first_extent, header.extent_count)
    return opener.open(place, payload)


def extent_digests(digester: Digester, plain: memoryview, extent_bytes: int) -> bytes:
    """Return the digests of the extents of a frame, one after the other."""
    return b"".join(
        [digester.of(plain[at : at + extent_bytes]) for at in range(0, len(plain), extent_bytes)]
    )
