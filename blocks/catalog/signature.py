"""Who wrote a restore point: with client-side encryption a holder of the key, provably.

A point names its pages by digest, a page its extents by keyed digest: so a signed point vouches for
every byte of a restore. Readable all the same, since listing what can be restored must need no key.
"""

from __future__ import annotations

from blocks.catalog.point import RestorePoint, point_key
from blocks.errors import CorruptData
from blocks.image.cipher import Cipher


def sign_point(cipher: Cipher, point: RestorePoint) -> RestorePoint:
    """Return the point with its signature. A writer's key signs."""
    code = cipher.sign_document(point_key(point.group, point.id), _signed_bytes(point))
    return point.model_copy(update={"signature": code})


def check_point(cipher: Cipher, point: RestorePoint) -> None:
    """Check a point's signature.

    Raises:
        CorruptData: it has none, or it is not that of this point.
        WrongKey: the keyring lacks the point's key.
    """
    where = point_key(point.group, point.id)
    if point.signature is None:
        raise CorruptData(
            f"{where}: encrypted, and nobody signed it",
            hint="Was it rebuilt from images? Set FLASHVAULT_ACCEPT_UNSIGNED=1 if you trust them.",
        )
    key_ids = point.key_ids
    cipher.check_document(where, _signed_bytes(point), point.signature, key_ids=key_ids)


def _signed_bytes(point: RestorePoint) -> bytes:
    """Return what is signed: everything but the signature and the moment of the commit.

    That moment differs when a commit in doubt is repeated. Fields with their default are left out,
    so that a later version with more fields gets the same bytes.
    """
    signed = point.model_dump_json(
        exclude={"signature", "committed_at"}, exclude_defaults=True, exclude_none=True
    )
    return signed.encode()
