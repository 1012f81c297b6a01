"""What a run that never committed has stored, and how it is removed."""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress

from blocks.errors import ObjectMissing
from blocks.store.base import Store


def remove_uncommitted(store: Store, folder: str, keep: Container[str] = ()) -> None:
    """Remove what a run that is void for ever has stored, but `keep`; nothing can refer to it.

    Open uploads go first: one that ended later would leave an object behind.
    """
    for upload in list(store.uploads(folder)):
        with suppress(ObjectMissing):
            going, _ = store.resume_upload(upload.key, upload.upload_id)
            going.abort()
    store.delete([found.key for found in store.list(folder) if found.key not in keep])
