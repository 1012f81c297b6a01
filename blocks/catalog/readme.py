"""README.txt: what whoever finds the bucket needs to know, with or without this tool."""

from __future__ import annotations

from blocks.errors import ObjectChanged
from blocks.store.base import Store

KEY = "README.txt"

TEXT = """\
THESE ARE BACKUPS, made by Flashvault. Delete nothing here by hand.

Every folder GROUP/RUN/ holds what one run stored of the disks of one resource group. A restore
point, points/GROUP/RUN.json, says which objects make up which disks at which moment. Objects are
shared between restore points: a later one needs earlier folders.


RESTORE WITH THE TOOL (any restore point, every byte verified)

    pip install flashvault          # Linux, Python 3.11 to 3.13
    export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...    # what this bucket needs
    flashvault query restore_points --bucket s3://THIS-BUCKET
    flashvault restore GROUP --bucket s3://THIS-BUCKET --point ID --to hdisk18=/dev/TARGET

It needs no server, no database and no configuration. If points/ is empty or damaged:

    flashvault catalog rebuild --bucket s3://THIS-BUCKET


RESTORE A FULL BACKUP WITH STOCK TOOLS (zstd, dd, and any S3 client)

A full backup of a disk is GROUP/RUN/<cluster>_<group>_<volume group>_<disk>.<date>_<time>.img.zst
(large disks: .0000.img.zst, .0001.img.zst, ... in this order):

    aws s3 cp "s3://THIS-BUCKET/GROUP/RUN/NAME.img.zst" - | zstd -dc | dd of=/dev/TARGET bs=1M

    for n in 0000 0001 0002; do aws s3 cp "s3://THIS-BUCKET/GROUP/RUN/NAME.$n.img.zst" -; done \\
        | zstd -dc | dd of=/dev/TARGET bs=1M

A name that ends in .img is the disk itself: leave out zstd. The target must be at least as large
as the disk was, and not in use. Objects ending in .incr.zst hold changes only, and objects ending
in .aead are encrypted: both need the tool (and the latter the passphrase or private key).

AIX afterwards:    importvg -y VOLUME_GROUP hdiskNN
Linux afterwards:  vgchange -ay VOLUME_GROUP
"""


def put_readme(store: Store) -> bool:
    """Put the text into the bucket, unless one is there; true if it was written."""
    try:
        store.put(KEY, TEXT.encode(), if_absent=True)
    except ObjectChanged:
        return False
    return True
