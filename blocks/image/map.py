"""Where every extent of a volume is: one page for each 65,536 extents.

A page is immutable and named by its content, so that restore points share the pages that did not
change; its bytes are specified in docs/reference/format.md §4.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from blocks.errors import CorruptData, UnknownFormat
from blocks.image.codec import decompress, frame_bytes
from blocks.image.digest import DIGEST_BYTES
from blocks.image.extents import PAGE_EXTENTS, Digests

PAGE_VERSION = 1
PAGE_MAGIC = b"FVMAP\0\0\0"
ZERO_OBJECT = -1
NODE_ALGORITHM = "sha256"
"""Of the digests a node can compute with its Python's standard library."""

_HEAD = struct.Struct("<8sI")

RUN = np.dtype(
    [
        ("first", "<u4"),
        ("count", "<u4"),
        ("object", "<i4"),
        ("skip", "<u4"),
        ("frame_count", "<u4"),
        ("length", "<u4"),
        ("offset", "<u8"),
    ]
)
"""A run of extents with one fate. `first` counts from the page's first extent; `object` indexes the
page's keys, -1 for zeros; the run begins `skip` extents into a frame of `frame_count` extents,
whose header and payload are `length` bytes at `offset`."""

Runs = NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The fates of up to 65,536 extents, in order and without a gap."""

    extent_bytes: int
    algorithm: str
    digests: Digests
    runs: Runs
    objects: tuple[str, ...]
    node: str | None = None
    """The node's digests of the extents that are not zeros, as they stand in the page."""

    @property
    def extent_count(self) -> int:
        """Extents in the page."""
        return len(self.digests)

    def node_digests(self) -> Digests | None:
        """Return the node's digest of each extent, zero bytes for zeros; None without them.

        Raises:
            CorruptData: there are others than the extents that are not zeros.
        """
        if self.node is None:
            return None
        try:
            known = base64.b64decode(self.node, validate=True)
        except (binascii.Error, ValueError) as error:
            raise CorruptData(f"the node's digests in a map's page are damaged: {error}") from error
        is_kept = np.repeat(self.runs["object"] != ZERO_OBJECT, self.runs["count"])
        if len(known) != int(is_kept.sum()) * DIGEST_BYTES:
            raise CorruptData("the node's digests in a map's page are of other extents")
        digests = np.zeros((self.extent_count, DIGEST_BYTES), dtype=np.uint8)
        digests[is_kept] = np.frombuffer(known, dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        return digests

    def with_node_digests(self, digests: Digests) -> Page:
        """Return the page with the node's digests of its extents; those of zeros are left out."""
        is_kept = np.repeat(self.runs["object"] != ZERO_OBJECT, self.runs["count"])
        return replace(self, node=base64.b64encode(digests[is_kept].tobytes()).decode())

    def check(self) -> None:
        """Refuse a page that does not give every extent exactly one fate.

        Raises:
            CorruptData: it does not.
        """
        runs = self.runs
        ends = runs["first"].astype(np.int64) + runs["count"]
        whole = (
            0 < len(self.digests) <= PAGE_EXTENTS
            and len(runs) > 0
            and runs["first"][0] == 0
            and bool((runs["count"] > 0).all())
            and bool((runs["first"][1:] == ends[:-1]).all())
            and ends[-1] == len(self.digests)
        )
        kept = runs[runs["object"] != ZERO_OBJECT]
        if (
            not whole
            or bool((kept["object"] < 0).any())
            or bool((kept["object"] >= len(self.objects)).any())
            or bool((kept["skip"].astype(np.int64) + kept["count"] > kept["frame_count"]).any())
        ):
            raise CorruptData("a page of the map does not give every extent one fate")

    def pack(self) -> bytes:
        """Return the bytes of the page."""
        head: dict[str, Any] = {
            "format": PAGE_VERSION,
            "extent_bytes": self.extent_bytes,
            "extents": len(self.digests),
            "digest": self.algorithm,
            "runs": len(self.runs),
            "objects": list(self.objects),
        }
        if self.node is not None:
            head["node"] = {"algorithm": NODE_ALGORITHM, "digests": self.node}
        text = json.dumps(head, sort_keys=True, ensure_ascii=False).encode()
        columns = [np.ascontiguousarray(self.runs[name]).tobytes() for name in RUN.names or ()]
        # Two frames: digests do not shrink unless they repeat, the columns do by a lot.
        compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
        body = compressor.compress(np.ascontiguousarray(self.digests).tobytes())
        return (
            _HEAD.pack(PAGE_MAGIC, len(text)) + text + body + compressor.compress(b"".join(columns))
        )


def unpack_page(data: bytes | memoryview) -> Page:
    """Read a page.

    Raises:
        UnknownFormat: not a page, or of a newer version.
        CorruptData: damaged.
    """
    view = memoryview(data)
    if len(view) < _HEAD.size or bytes(view[:8]) != PAGE_MAGIC:
        raise UnknownFormat("the object is no page of a map")
    _, length = _HEAD.unpack_from(view)
    head = _parse_head(bytes(view[_HEAD.size : _HEAD.size + length]))
    rest = view[_HEAD.size + length :]
    end = frame_bytes(rest)
    digests = decompress(rest[:end], head.extents * DIGEST_BYTES)
    columns = decompress(rest[end:], head.runs * RUN.itemsize)
    table = np.empty(head.runs, dtype=RUN)
    at = 0
    for name in RUN.names or ():
        width = RUN[name].itemsize * head.runs
        table[name] = np.frombuffer(columns[at : at + width], dtype=RUN[name])
        at += width
    page = Page(
        head.extent_bytes,
        head.algorithm,
        np.frombuffer(digests, dtype=np.uint8).reshape(head.extents, DIGEST_BYTES),
        table,
        head.objects,
        head.node,
    )
    page.check()
    return page


@dataclass(frozen=True, slots=True)
class _Head:
    extent_bytes: int
    extents: int
    algorithm: str
    runs: int
    objects: tuple[str, ...]
    node: str | None


def _parse_head(text: bytes) -> _Head:
    try:
        head: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptData("the header of a map's page is damaged") from error
    found = head.get("format") if isinstance(head, dict) else None
    if found != PAGE_VERSION:
        raise UnknownFormat(f"the map's page has format {found!r}, this tool reads {PAGE_VERSION}")
    try:
        parsed = _Head(
            int(head["extent_bytes"]),
            int(head["extents"]),
            str(head["digest"]),
            int(head["runs"]),
            tuple(map(str, head["objects"])),
            _node(head.get("node")),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptData(f"the header of a map's page is damaged: {error}") from error
    if not 0 < parsed.extents <= PAGE_EXTENTS or not 0 < parsed.runs <= parsed.extents:
        raise CorruptData("the header of a map's page is damaged")
    return parsed


def _node(member: object) -> str | None:
    """Take what is known of the optional member; a restore must not fail for what it need not."""
    if isinstance(member, dict) and member.get("algorithm") == NODE_ALGORITHM:
        return str(member.get("digests"))
    return None


class PageDraft:
    """A page in the making: every extent is given a fate once, in any order."""

    def __init__(self, extent_bytes: int, algorithm: str, extent_count: int) -> None:
        self._extent_bytes = extent_bytes
        self._algorithm = algorithm
        self._digests = np.zeros((extent_count, DIGEST_BYTES), dtype=np.uint8)
        # The row of each extent: 0 none yet, 1 zero, then the parent's rows, then new frames.
        self._row_of = np.zeros(extent_count, dtype=np.int32)
        none = np.zeros(1, dtype=RUN)
        zero = np.zeros(1, dtype=RUN)
        zero["object"] = ZERO_OBJECT
        self._rows: list[Runs] = [none, zero]
        self._row_count = 2
        self._objects: dict[str, int] = {}
        self._parent_row_of: NDArray[np.int32] | None = None
        self._node_digests: Digests | None = None

    def adopt(self, parent: Page) -> None:
        """Let extents keep the place they have in the parent's page."""
        assert self._parent_row_of is None
        assert parent.extent_count == len(self._row_of)
        rows = parent.runs.copy()
        renumber = np.array([self._object(key) for key in parent.objects] or [0], dtype=np.int32)
        kept = rows["object"] != ZERO_OBJECT
        rows["object"][kept] = renumber[rows["object"][kept]]
        rows["first"] = rows["first"] - rows["skip"]
        numbers = np.arange(len(rows), dtype=np.int32) + self._row_count
        numbers[~kept] = 1
        self._parent_row_of = np.repeat(numbers, parent.runs["count"]).astype(np.int32)
        self._rows.append(rows)
        self._row_count += len(rows)

    def keep(self, first: int, digests: Digests, mask: NDArray[np.bool_]) -> None:
        """Give the digests of a run, and the parent's place to its extents in `mask`."""
        end = first + len(digests)
        self._digests[first:end] = digests
        if mask.any():
            assert self._parent_row_of is not None
            self._give(first, np.where(mask, self._parent_row_of[first:end], 0))

    def zero(self, first: int, mask: NDArray[np.bool_]) -> None:
        """Say that the extents in `mask`, counted from `first`, are zero."""
        self._give(first, mask.astype(np.int32))

    def store(self, first: int, count: int, key: str, offset: int, length: int) -> None:
        """Say in which frame a run of extents is."""
        row = np.zeros(1, dtype=RUN)
        row[0] = (first, count, self._object(key), 0, count, length, offset)
        self._give(first, np.full(count, self._row_count, dtype=np.int32))
        self._rows.append(row)
        self._row_count += 1

    def note(self, first: int, node_digests: Digests) -> None:
        """Keep the node's digests of a run; a page has them of all its extents or of none."""
        if self._node_digests is None:
            self._node_digests = np.zeros_like(self._digests)
        self._node_digests[first : first + len(node_digests)] = node_digests

    def finish(self) -> Page:
        """Return the page."""
        assert (self._row_of > 0).all(), "an extent was read and given no fate"
        table = np.concatenate(self._rows)
        edges = np.flatnonzero(np.diff(self._row_of)) + 1
        firsts = np.concatenate(([0], edges)).astype(np.int64)
        runs = table[self._row_of[firsts]].copy()
        frame_first = runs["first"].astype(np.int64)
        runs["count"] = np.diff(np.concatenate((firsts, [len(self._row_of)])))
        runs["first"] = firsts
        zero = runs["object"] == ZERO_OBJECT
        runs["skip"] = np.where(zero, 0, firsts - frame_first)
        runs["frame_count"] = np.where(zero, 0, runs["frame_count"])
        used = np.unique(runs["object"][~zero])
        keys = list(self._objects)
        renumber = np.zeros(max(len(keys), 1), dtype=np.int32)
        renumber[used] = np.arange(len(used), dtype=np.int32)
        runs["object"][~zero] = renumber[runs["object"][~zero]]
        page = Page(
            self._extent_bytes,
            self._algorithm,
            self._digests,
            runs,
            tuple(keys[index] for index in used.tolist()),
        )
        page.check()
        return page if self._node_digests is None else page.with_node_digests(self._node_digests)

    def _object(self, key: str) -> int:
        return self._objects.setdefault(key, len(self._objects))

    def _give(self, first: int, rows: NDArray[np.int32]) -> None:
        part = self._row_of[first : first + len(rows)]
        assert not (part[rows > 0] > 0).any(), "an extent was given two fates"
        np.copyto(part, rows, where=rows > 0)
