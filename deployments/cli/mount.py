"""`flashvault mount`: look inside a restore point without restoring it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.cli.output import err, out, print_json, reported_errors

if TYPE_CHECKING:
    from blocks.catalog.point import RestorePoint
    from blocks.image.cipher import Cipher
    from blocks.store.base import Store
    from tasks.lens import Lens


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(rich_help_panel="Backup and restore")(mount)


def mount(
    group: Annotated[str, typer.Argument(metavar="RG", help="Resource group.")],
    directory: Annotated[
        # `readable=False`: what is wrong with it says `_require_place`, with what to do next.
        Path, typer.Argument(metavar="DIR", help="An empty directory.", readable=False)
    ],
    point: Annotated[str, typer.Option("--point", help="Restore point; else the newest.")] = "",
    volume: Annotated[
        list[str] | None, typer.Option("--volume", help="Only these disks, such as hdisk18.")
    ] = None,
    bucket: Annotated[
        str, typer.Option("--bucket", help="s3://bucket/prefix: needs nothing else.")
    ] = "",
    cache: Annotated[str, typer.Option("--cache", help="Memory for each volume.")] = "256MiB",
    allow_other: Annotated[
        bool, typer.Option("--allow-other", help="Let other users look too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document when it is unmounted.")
    ] = False,
) -> None:
    """Show the volumes of a restore point as files, read-only, straight from the bucket.

    Runs until Ctrl-C or `umount DIR`. Only what is read is fetched, and every byte is proven
    before it is shown; damaged places answer with an input/output error. If its process is killed,
    reads fail with "Transport endpoint is not connected": `umount -l DIR`, and mount again.

    Then, for a file system that is alone on its disk:
    mount -o ro,noload,loop /mnt/point/hdisk18.img /mnt/files

    Example: flashvault mount RG1 /mnt/point --bucket s3://pha-bucket
    """
    with reported_errors(as_json=as_json):
        from blocks.units import parse_size

        _require_place(directory)
        source, found, cipher = _open(group, point, bucket)
        show = _Show(found, source, cipher, volume or [], cache_bytes=parse_size(cache))
        try:
            _serve(show, directory, allow_other=allow_other)
        finally:
            show.close()
        _tell(show, as_json=as_json)


def _open(group: str, point: str, bucket: str) -> tuple[Store, RestorePoint, Cipher | None]:
    """Open the bucket and the point; loads Prefect only where a secret may be kept there."""
    from blocks.catalog import shelf

    if bucket:
        from blocks.store.clients import open_store, parse_bucket_url

        source = open_store(parse_bucket_url(bucket))
    else:
        from deployments import runtime

        runtime.prepare_environment(quiet=True)
        runtime.found_server()
        from tasks.plan import Asked, configured, open_source

        asked = Asked(group, {}, point)
        source = open_source(configured(asked), asked)
    found = (
        shelf.read_point(source, group, point)
        if point
        else shelf.find_point(shelf.existing_points(source, group))
    )
    if not found.key_ids:
        return source, found, None
    from deployments import runtime

    runtime.prepare_environment(quiet=True)
    from tasks.plan import Asked
    from tasks.protection import reading_cipher

    return source, found, reading_cipher(Asked(group, {}, found.id, bucket=bucket), source, found)


@dataclass(frozen=True, slots=True)
class _Shown:
    """One volume as a file."""

    lens: Lens
    data_bytes: int
    """What is not zero: what `du` says of it."""


class _Show:
    """The files of a mounted restore point, by name."""

    def __init__(
        self,
        point: RestorePoint,
        source: Store,
        cipher: Cipher | None,
        wanted: list[str],
        *,
        cache_bytes: int,
    ) -> None:
        from blocks.policy.recovery import chosen_volumes
        from tasks.lens import Lens

        self.point = point
        self.taken_s = point.taken_at.timestamp()
        self.served_bytes = 0
        self.is_up = False
        self.files: dict[str, _Shown] = {}
        volumes = chosen_volumes(point, wanted)
        disks = [volume.disk for volume in volumes]
        for volume in volumes:
            name = volume.disk if disks.count(volume.disk) == 1 else volume.name
            lens = Lens(volume, point.objects, source, cipher=cipher, cache_bytes=cache_bytes)
            data_bytes = volume.size_bytes - volume.zero_bytes
            name = name.replace("/", "_").removesuffix(".img")
            self.files[f"{name}.img"] = _Shown(lens, data_bytes)

    @property
    def fetched_bytes(self) -> int:
        """What the bucket was asked for so far."""
        return sum(shown.lens.fetched_bytes for shown in self.files.values())

    def close(self) -> None:
        """Let the bucket go."""
        for shown in self.files.values():
            shown.lens.close()

    def attributes(self, path: str) -> dict[str, Any]:
        """Say what `stat` says of a path.

        Raises:
            OSError: there is no such file.
        """
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), int(self.taken_s * 10**9))
        owner = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o555, "st_nlink": 2, **owner, **times}
        shown = self._file(path)
        return {
            "st_mode": stat.S_IFREG | 0o440,
            "st_nlink": 1,
            "st_size": shown.lens.size_bytes,
            "st_blocks": -(-shown.data_bytes // 512),
            **owner,
            **times,
        }

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Return proven bytes.

        Raises:
            OSError: they cannot be had; why is said on stderr.
        """
        from blocks.errors import FlashvaultError

        shown = self._file(path)
        try:
            data = shown.lens.read(offset, length)
        except FlashvaultError as error:
            err().print(f"{path[1:]} at {offset}: {error}", style="red", markup=False)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path) from error
        self.served_bytes += len(data)
        return data

    def check_open(self, path: str, flags: int) -> None:
        """Refuse to open what is not there, or for writing."""
        self._file(path)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    def _file(self, path: str) -> _Shown:
        shown = self.files.get(path.removeprefix("/"))
        if shown is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return shown


def _require_place(directory: Path) -> None:
    """Refuse what is no place to mount on.

    Raises:
        ConfigError: there is no such directory, it is not empty, or a dead mount is on it.
    """
    from blocks.errors import ConfigError

    try:
        if not directory.is_dir():
            raise ConfigError(f"{directory} is no directory", hint=f"mkdir {directory}")
        is_empty = not any(directory.iterdir())
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise ConfigError(
                f"{directory} cannot be looked into: {error.strerror}",
                hint="Choose an empty directory of your own.",
            ) from error
        # Its process was killed: the kernel keeps the mount, and nobody answers.
        raise ConfigError(
            f"{directory} is a mount whose process is gone: nothing can be read there",
            hint=f"Unmount what lies on its files, then run `umount -l {directory}`"
            f" (without root `fusermount3 -uz {directory}`), and mount again.",
        ) from error
    if not is_empty:
        raise ConfigError(f"{directory} is not empty", hint="Choose an empty directory.")


def _serve(show: _Show, directory: Path, *, allow_other: bool) -> None:
    """Mount, and return when it is unmounted.

    Raises:
        ConfigError: this machine has no FUSE.
        HostError: FUSE refused.
    """
    from blocks.errors import HostError

    fuse = _fuse()
    ready = _announce(show, directory)
    try:
        fuse.FUSE(
            _operations(fuse, show, ready),
            str(directory),
            foreground=True,
            ro=True,
            nosuid=True,
            nodev=True,
            kernel_cache=True,  # what a restore point holds never changes
            allow_other=allow_other,
            fsname=f"flashvault:{show.point.group}/{show.point.id}",
            subtype="flashvault",
        )
    except RuntimeError as error:
        if show.is_up:
            # libfuse calls a signal an error of its loop: the mount was there, and has ended.
            return
        raise HostError(
            f"cannot mount on {directory}",
            hint="See FUSE's own message above; a user needs fusermount3 (apt install fuse3).",
        ) from error


def _fuse() -> Any:
    from blocks.errors import ConfigError

    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise ConfigError(
            "/dev/fuse cannot be opened: this machine cannot mount from user space",
            hint="Load the kernel module fuse, or read ranges with `flashvault image cat`.",
        )
    try:
        import mfusepy
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"FUSE is not installed: {error}",
            hint="apt install fuse3, and pip install 'flashvault[mount]'.",
        ) from error
    return mfusepy


def _announce(show: _Show, directory: Path) -> Callable[[], None]:
    def ready() -> None:
        show.is_up = True
        console = err()
        console.print(
            f"restore point {show.point.id} of {show.point.group}, taken"
            f" {show.point.taken_at:%Y-%m-%d %H:%M:%S %Z}, is at {directory}:"
            f" {', '.join(show.files)}",
            markup=False,
        )
        console.print(f"Ctrl-C or `umount {directory}` ends it.", markup=False)

    return ready


def _operations(fuse: Any, show: _Show, ready: Callable[[], None]) -> Any:
    """Return the operations FUSE calls, each a word for one of `show`'s."""

    class Operations(fuse.Operations):  # type: ignore[misc]
        use_ns = True

        def init(self, path: str) -> None:
            ready()

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            return show.attributes(path)

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *show.files]

        def open(self, path: str, flags: int) -> int:
            show.check_open(path, flags)
            return 0

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return show.read(path, offset, size)

    return Operations()


def _tell(show: _Show, *, as_json: bool) -> None:
    from blocks.units import format_size

    if as_json:
        print_json(
            {
                "ok": True,
                "restore_point": show.point.id,
                "files": list(show.files),
                "served_bytes": show.served_bytes,
                "fetched_bytes": show.fetched_bytes,
            }
        )
        return
    out().print(
        f"unmounted: {format_size(show.served_bytes)} read,"
        f" {format_size(show.fetched_bytes)} fetched from the bucket",
        markup=False,
    )
