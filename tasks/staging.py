"""Write an image to files first and send it from there: STAGING=yes, IBM's way.

The parts of a capture wait as files, each with its digest. When all are there the upload begins,
and needs the snapshot no more: another try of the step sends what lies there instead of reading
the disk again. Which directory it is, and its end: tasks/target_location.py. No Prefect here.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from blocks.errors import CorruptData, HostError
from blocks.image.capture import Capture, CaptureCounts, MapPage
from blocks.image.digest import Digester
from blocks.image.map import unpack_page
from blocks.image.segments import Part

Subject = Mapping[str, Any]
"""What is staged: volume, folder, parent. What was staged of another subject is of no use."""

_INDEX = "index.jsonl"


class Staging:
    """One image on its way through a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._digester = Digester()

    def name_of(self, subject: Subject) -> str:
        """Return the name of the image that is staged whole, empty if there is none of this."""
        found = self._head()
        if found is None or {**found, "name": ""} != {**subject, "name": ""}:
            return ""
        return str(found["name"])

    def outputs(self, capture: Capture, subject: Subject) -> Iterator[Part | MapPage]:
        """Yield what the capture yields, from files; fill these first unless they are there.

        Raises:
            HostError: TARGET_LOCATION cannot be written or read.
            CorruptData: a file is not what was written; the next try begins anew.
        """
        if not self.name_of(subject):
            self._fill(capture, subject)
        return self._replay(capture)

    # --- in --------------------------------------------------------------------------------------

    def _fill(self, capture: Capture, subject: Subject) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        try:
            self._directory.mkdir(mode=0o700)
            draft = self._directory / f"{_INDEX}.draft"
            with draft.open("w") as index:
                index.write(json.dumps(dict(subject)) + "\n")
                for number, output in enumerate(capture.outputs()):
                    index.write(json.dumps(self._keep(capture, number, output)) + "\n")
                index.write(json.dumps({"counts": dataclasses.asdict(capture.counts)}) + "\n")
            # Only a capture that has come to its end is worth anything to another try.
            draft.rename(self._directory / _INDEX)
        except OSError as error:
            raise _unusable(self._directory, error) from error

    def _keep(self, capture: Capture, number: int, output: Part | MapPage) -> dict[str, Any]:
        if isinstance(output, Part):
            row = self._write(number, output.data)
            facts = {
                "key": output.key,
                "number": output.number,
                "offset": output.offset,
                "is_last": output.is_last,
                "size_bytes": output.size_bytes,
                "digest": output.digest,
            }
            capture.buffers.give_back(output.data)
            return {"part": facts, **row}
        facts = {"index": output.index, "objects": list(output.objects)}
        if output.page is None:
            return {"page": facts}
        return {"page": facts, **self._write(number, output.page.pack())}

    def _write(self, number: int, data: bytes | bytearray) -> dict[str, Any]:
        name = f"{number:08d}"
        (self._directory / name).write_bytes(data)
        return {"file": name, "bytes": len(data), "blake3": self._digester.of(data).hex()}

    # --- out -------------------------------------------------------------------------------------

    def _replay(self, capture: Capture) -> Iterator[Part | MapPage]:
        try:
            with (self._directory / _INDEX).open("rb") as index:
                next(index)
                yield from self._rows(index, capture)
        except OSError as error:
            raise _unusable(self._directory, error) from error

    def _rows(self, index: BinaryIO, capture: Capture) -> Iterator[Part | MapPage]:
        for line in index:
            row = json.loads(line)
            if "part" in row:
                buffer = capture.part_buffer()
                _resize(buffer, row["bytes"])
                self._read(row, buffer)
                yield Part(data=buffer, **row["part"])
            elif "page" in row:
                page = None
                if "file" in row:
                    packed = bytearray(row["bytes"])
                    self._read(row, packed)
                    page = unpack_page(bytes(packed))
                yield MapPage(row["page"]["index"], page, tuple(row["page"]["objects"]))
            else:
                capture.counts = CaptureCounts(**row["counts"])

    def _read(self, row: Mapping[str, Any], buffer: bytearray) -> None:
        path = self._directory / row["file"]
        with path.open("rb", buffering=0) as file:
            got = _read_all(file, buffer)
        if got != len(buffer) or self._digester.of(buffer).hex() != row["blake3"]:
            (self._directory / _INDEX).unlink(missing_ok=True)
            raise CorruptData(
                f"{path} is not what was written there",
                hint="The disk or memory behind TARGET_LOCATION is faulty: do not trust it.",
            )

    def _head(self) -> dict[str, Any] | None:
        try:
            with (self._directory / _INDEX).open() as index:
                found = json.loads(index.readline())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(self._directory, error) from error
        return found if isinstance(found, dict) else None


def _resize(buffer: bytearray, length: int) -> None:
    if len(buffer) > length:
        del buffer[length:]
    else:
        buffer.extend(bytes(length - len(buffer)))


def _read_all(file: Any, buffer: bytearray) -> int:
    done = 0
    with memoryview(buffer) as view:
        while done < len(view):
            got = file.readinto(view[done:])
            if not got:
                break
            done += got
    return done


def _unusable(directory: Path, error: OSError) -> HostError:
    return HostError(
        f"TARGET_LOCATION {directory.parent} cannot be used: {error.strerror or error}",
        hint="Make room there, or set STAGING=no: the images then go to the bucket directly.",
    )
