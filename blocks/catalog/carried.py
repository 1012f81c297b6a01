"""Documents of which each carries on what those before it said, which are then taken away.

One per run, under a key of its own, so that two runs at once lose nothing of each other's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from blocks.catalog.document import Model, read_sealed
from blocks.errors import CorruptData, ObjectMissing, StoreError
from blocks.store.base import Store

log = logging.getLogger(__name__)


def read_carried(store: Store, prefix: str, kind: type[Model]) -> Iterator[tuple[str, Model]]:
    """Yield key and document; a damaged one says nothing, and is named in the log.

    Raises:
        StoreError: the bucket cannot be read, which is not the same as nothing there.
    """
    for info in store.list(prefix):
        try:
            yield info.key, read_sealed(store, info.key, kind)
        except ObjectMissing:
            continue  # another run has carried it on
        except CorruptData as error:
            log.warning("%s", error)


def let_go(store: Store, keys: Sequence[str]) -> None:
    """Take documents away that have been carried on.

    They say nothing that is not said again; a locked bucket may insist on keeping them.
    """
    if not keys:
        return
    try:
        store.delete(keys)
    except StoreError as error:
        log.warning("older documents stay (%s): %s", ", ".join(keys), error)
