"""The small documents of a catalog as stored: JSON that says itself whether it is whole.

The last member of each is `"seal":"blake3:<hex>"` over the JSON before it was added. A bit that
flips in a key, a size or a time is then seen, not believed; and because bytes can also be damaged
on the way, a document that does not fit its seal is read a second time before it is called corrupt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from blake3 import blake3
from pydantic import BaseModel, ValidationError

from blocks.errors import (
    CorruptData,
    ObjectChanged,
    ObjectMissing,
    StoreUnavailable,
    UnknownFormat,
)
from blocks.store.base import Store

WORKERS = 16
"""Requests in flight when many small documents are read or objects are looked at."""

_SEAL = b',"seal":"blake3:'
_TAIL_BYTES = len(_SEAL) + 64 + len(b'"}')

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")
Result = TypeVar("Result")


def seal(document: BaseModel) -> bytes:
    """Encode a document for the store."""
    body = document.model_dump_json(exclude_none=True).encode()
    assert body.endswith(b"}")
    return body[:-1] + _SEAL + blake3(body).hexdigest().encode() + b'"}'


def unseal(data: bytes, kind: type[Model], *, where: str) -> Model:
    """Decode a document from the store.

    Args:
        data: its bytes.
        kind: what it should be.
        where: its key, for the error.

    Raises:
        CorruptData: the bytes are not those that were sealed.
        UnknownFormat: they are, but this version cannot read them.
    """
    if not is_sealed(data):
        raise CorruptData(f"{where} is not as it was written: its seal does not fit")
    try:
        return kind.model_validate_json(data[:-_TAIL_BYTES] + b"}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise UnknownFormat(f"{where} cannot be read: {place}: {first['msg']}") from error


def is_sealed(data: bytes) -> bool:
    """Say whether the bytes are a document exactly as it was sealed."""
    body = data[:-_TAIL_BYTES] + b"}"
    return data[-_TAIL_BYTES:] == _SEAL + blake3(body).hexdigest().encode() + b'"}'


def read_sealed(store: Store, key: str, kind: type[Model]) -> Model:
    """Read a document; twice, if the first reading is damaged."""
    try:
        return unseal(store.get(key), kind, where=key)
    except CorruptData:
        return unseal(store.get(key), kind, where=key)


def write_once(store: Store, key: str, data: bytes) -> bytes:
    """Write a document where nothing may be yet; return what is there: ours, or an earlier one.

    Raises:
        StoreUnavailable: two such writes met and neither was done (S3 answers 409); try again.
    """
    try:
        store.put(key, data, if_absent=True)
    except ObjectChanged:
        try:
            return store.get(key)
        except ObjectMissing as error:
            raise StoreUnavailable(f"{key} was neither written nor there before") from error
    return data


def each(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int = WORKERS
) -> Sequence[Result]:
    """Apply a function to every item, several at once; results in the order of the items.

    The first error is raised, once the calls in flight have ended; no further one is begun.
    """
    waiting = list(items)
    if workers <= 1 or len(waiting) <= 1:
        return [function(item) for item in waiting]
    with ThreadPoolExecutor(min(workers, len(waiting)), thread_name_prefix="catalog") as pool:
        try:
            return list(pool.map(function, waiting))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
