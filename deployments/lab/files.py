"""Real file systems with real files, built and checked without root (e2fsprogs)."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from blocks.errors import ConfigError
from blocks.units import MIB

Tree = dict[str, bytes]
"""Files of a file system by their path."""

PHRASES = (
    "the order was shipped to the address on file",
    "payment received, thank you for your business",
    "see the attached statement for the details",
    "the meeting moved to Thursday at ten",
)


def tool(name: str) -> str:
    """Return the path of a tool of e2fsprogs.

    Raises:
        ConfigError: it is not installed.
    """
    found = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        raise ConfigError(
            f"{name} is not installed", hint="Install e2fsprogs (Debian: apt install e2fsprogs)."
        )
    return found


def office_files(seed: int, total_bytes: int) -> Tree:
    """Make files such as people have: text, tables, and some that no one can compress."""
    dice = random.Random(seed)  # noqa: S311 - reproducible, not secret
    tree: Tree = {}
    made = number = 0
    while made < total_bytes:
        number += 1
        size = dice.randrange(16 * 1024, 2 * MIB)
        if number % 4 == 0:
            name, body = f"scans/scan{number:04}.bin", dice.randbytes(size)
        elif number % 4 == 1:
            rows = (f"{i};{dice.random():.6f};{dice.choice(PHRASES)}\n" for i in range(size // 48))
            name, body = f"tables/table{number:04}.csv", "".join(rows).encode()
        else:
            lines = (dice.choice(PHRASES) + "\n" for _ in range(size // 44))
            name, body = f"letters/letter{number:04}.txt", "".join(lines).encode()
        tree[name] = body
        made += len(body)
    return tree


def changed_files(tree: Mapping[str, bytes], seed: int, share: float = 0.05) -> Tree:
    """Return the same files after a day's work: some edited, some new, some gone."""
    dice = random.Random(seed)  # noqa: S311 - as above
    changed = dict(tree)
    for name in dice.sample(sorted(tree), max(1, int(len(tree) * share))):
        changed[name] = changed[name][: len(changed[name]) // 2] + f"edited {seed}\n".encode() * 500
    changed[f"letters/new{seed}.txt"] = b"written after the last backup\n" * 1000
    return changed


def write_file_system(volume: Path, tree: Mapping[str, bytes], label: str) -> None:
    """Make an ext4 file system that fills a volume and holds these files."""
    size_bytes = volume.stat().st_size
    with tempfile.TemporaryDirectory(prefix="flashvault-") as scratch:
        root = Path(scratch, "root")
        for name, body in tree.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        image = Path(scratch, "image")
        with image.open("wb") as file:
            file.truncate(size_bytes)
        uuid = "f1a54a01-0000-4000-8000-" + hashlib.sha256(label.encode()).hexdigest()[:12]
        _run(
            [
                tool("mke2fs"),
                "-q",
                "-t",
                "ext4",
                "-F",
                "-d",
                str(root),
                "-L",
                label,
                "-U",
                uuid,
                "-E",
                "root_owner=0:0,lazy_itable_init=0,nodiscard",
                str(image),
            ]
        )
        copy_over(image, volume)


def edit_file_system(volume: Path, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    """Change the files of a file system in place, as people do: what stays is not moved."""
    with tempfile.TemporaryDirectory(prefix="flashvault-") as scratch:
        commands = [f'rm "{name}"' for name in before if before[name] != after.get(name)]
        for number, (name, body) in enumerate(sorted(after.items())):
            if before.get(name) != body:
                path = Path(scratch, f"{number}")
                path.write_bytes(body)
                commands.append(f'write "{path}" "{name}"')
        script = Path(scratch, "script")
        script.write_text("\n".join([*commands, ""]))
        _run([tool("debugfs"), "-w", "-f", str(script), str(volume)])


def copy_over(source: Path, volume: Path) -> None:
    """Write a file's bytes over a volume's, in place: the volume stays the same device."""
    with source.open("rb") as reader, volume.open("r+b") as writer:
        shutil.copyfileobj(reader, writer, 4 * MIB)


def destroy(volume: Path, seed: int) -> None:
    """Overwrite every byte of a volume with noise."""
    dice = random.Random(seed)  # noqa: S311 - as above
    left = volume.stat().st_size
    with volume.open("r+b") as file:
        while left > 0:
            left -= file.write(dice.randbytes(min(MIB, left)))


def check_file_system(volume: Path) -> str:
    """Return `clean`, or what `e2fsck -fn` has to say."""
    done = subprocess.run(
        [tool("e2fsck"), "-fn", str(volume)], capture_output=True, text=True, check=False
    )
    return "clean" if done.returncode == 0 else f"e2fsck exit {done.returncode}: {done.stdout}"


def read_file_system(volume: Path) -> Tree:
    """Read every file of a file system back."""
    with tempfile.TemporaryDirectory(prefix="flashvault-") as scratch:
        _run([tool("debugfs"), "-R", f"rdump / {scratch}", str(volume)])
        root = Path(scratch)
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a whole device."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_same(one: Path, other: Path) -> bool:
    """Say whether two devices are the same, byte for byte."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            piece = left.read(4 * MIB)
            if piece != right.read(4 * MIB):
                return False
            if not piece:
                return True


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
