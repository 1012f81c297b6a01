"""How long a capture takes that goes on where a try before it broke off, beside one from the start.

SIZE_MIB=4096 FOLDER=.bench python tests/bench/resume.py

In turns, three rounds: a whole capture; one that the store refuses after three quarters of its
parts; and the next try on the same disk, which reads everything again, compares each part with
what the store says it has, and sends the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import image

from blocks.errors import StoreUnavailable
from blocks.host.local import LocalReader
from blocks.store.base import Store
from blocks.store.clients import open_store, parse_bucket_url
from deployments.lab import s3
from deployments.lab.keys import Keys
from deployments.lab.processes import Register
from tasks.pipeline import CaptureSettings, capture_volume
from tasks.transfer import Progress

SIZE_MIB = int(os.environ.get("SIZE_MIB", "4096"))
FOLDER = Path(os.environ.get("FOLDER", ".bench")).absolute()
ROUNDS = 3
SHARE = 0.75


class Breaking:
    """A store that takes so many parts and refuses the next."""

    def __init__(self, store: Store, parts: int) -> None:
        self._store, self._left = store, parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def begin_upload(self, key: str) -> Any:
        """Begin an upload whose parts are counted."""
        upload = self._store.begin_upload(key)
        put = upload.put_part

        def put_part(number: int, data: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise StoreUnavailable("503")
            return put(number, data)

        upload.put_part = put_part  # type: ignore[method-assign]
        return upload


def capture(store: Any, folder: str) -> tuple[float, Any]:
    """Capture the image, and say how long it took."""
    os.sync()
    reader = LocalReader(FOLDER / "day1.img")
    began = time.perf_counter()
    try:
        done = capture_volume(
            reader,
            store,
            folder=folder,
            name="image",
            uid="A" * 32,
            parent=None,
            settings=CaptureSettings(),
            stop=threading.Event(),
            progress=Progress(),
        )
    finally:
        reader.close()
    return time.perf_counter() - began, done


def measure(store: Store) -> dict[str, float]:
    """Take turns, and return medians."""
    times: dict[str, list[float]] = defaultdict(list)
    kept = 0.0
    for number in range(ROUNDS):
        seconds, whole = capture(store, f"whole/{number}/")
        times["whole_s"].append(seconds)
        parts = sum(item.size_bytes for item in whole.objects) // CaptureSettings().part_bytes
        broken = f"broken/{number}/"
        began = time.perf_counter()
        try:
            capture(Breaking(store, round(parts * SHARE)), broken)
        except StoreUnavailable:
            times["until_refused_s"].append(time.perf_counter() - began)
        seconds, again = capture(store, broken)
        times["next_try_s"].append(seconds)
        kept = again.kept_bytes / sum(item.size_bytes for item in again.objects)
        store.delete([info.key for info in store.list("")])
        print({name: round(row[-1], 2) for name, row in times.items()}, flush=True)
    medians = {name: round(statistics.median(row), 2) for name, row in times.items()}
    return {**medians, "kept_share": round(kept, 3)}


def main() -> None:
    """Start the server and measure; the last line is one JSON document."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    image.build(FOLDER / "day1.img", SIZE_MIB * image.MIB)
    place = FOLDER / "server"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    register, keys = Register(place), Keys(place / "keys")
    server = s3.start(place, keys, register, "bench", with_door=False)
    try:
        s3.wait(server, "bench", place)
        os.environ |= {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": s3.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_DEFAULT_REGION": s3.REGION,
        }
        print(json.dumps(measure(open_store(parse_bucket_url("s3://bench")))))
    finally:
        register.stop()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
