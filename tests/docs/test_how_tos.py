"""The commands of the how-to pages, run in a lab as a reader types them.

A command is taken from the page itself. `FILLED` says what a reader puts in the place of the page's
example names, `NOT_RUN` why a command is left out; every other command must succeed.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import markdown
import pytest

from deployments.lab import site as lab

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"<pre><code>(.*?)</code></pre>", re.DOTALL)


def commands(page: str) -> list[str]:
    """Return the commands of a page's code blocks, each with its further lines."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    found = []
    for block in BLOCK.findall(markdown.markdown(text, extensions=["fenced_code", "tables"])):
        command = ""
        for line in html.unescape(block).splitlines():
            command += f"{line}\n"
            if is_whole(command):
                found.append(command.strip())
                command = ""
        assert not command, f"{page}.md: the shell does not understand {command}"
    return [each for each in found if each]


def is_whole(command: str) -> bool:
    done = subprocess.run(
        ["bash", "-n"], input=command, capture_output=True, text=True, check=False
    )
    return not command.endswith("\\\n") and not done.returncode and not done.stderr


STRANGER = "-i $KEY -o StrictHostKeyChecking=no -o LogLevel=ERROR"
TELLS_NODE = f"ssh {STRANGER} -p $NODE root@127.0.0.1"
BLANK = f"""
{TELLS_NODE} 'lsvg | grep -qx VG1r && {{ varyoffvg VG1r; exportvg VG1r; }} || true'
for volume in Node1_6 Node1_7; do
    size=$(stat -c %s $VOLUMES/$volume)
    truncate -s 0 $VOLUMES/$volume; truncate -s $size $VOLUMES/$volume; done
"""
"""The spare disks as they were: no volume group, nothing on them."""
POINT = """
POINT=$(flashvault query restore_points RG1 | awk '$3 == "full" {point = $1} END {print point}')
"""
NO_ARRAY = "unset FLASHVAULT_CONFIG PREFECT_API_URL\n"
SPARE = {"hdisk30": "hdisk23", "hdisk31": "hdisk24", "01M83DQ4ST8XJSPHTQ58R2D7KS": "$POINT"}
SEALED = (
    'B="--bucket s3://pha-bucket/sealed"; cd $HOME; echo three more words > new-passphrase-file\n'
)

PREPARED = {
    "add-a-profile": "cp $FLASHVAULT_CONFIG $HOME/kept.xml; rm $FLASHVAULT_CONFIG\n",
    "restore-one-volume": BLANK + POINT,
    "restore-with-nothing-but-the-bucket": NO_ARRAY,
    "restore-with-stock-tools": POINT
    + "NAME=$(aws s3 ls s3://pha-bucket/RG1/$POINT/ | awk '/hdisk18.*img.zst/ {print $4}')\n",
    "rotate-a-key": SEALED + "export FLASHVAULT_PASSPHRASE='the first three words'\n",
    # The page before has made Node1_6 a target of RG1.
    "use-the-lab": f"""ssh {STRANGER} -p $ARRAY admin@127.0.0.1 '
for id in $(lsfcmap -nohdr -delim : -filtervalue target_vdisk_name=Node1_6 | cut -d: -f1); do
    rmfcmap -force $id; done'
""",
    "replace-the-array": BLANK
    + "flashvault delete backup_profile RG1 BACKUP_METHOD=remote_storage\n",
}
"""What is typed before a page is read."""

FILLED = {
    "add-a-profile": {
        "-t ed25519 90.90.90.1": "-t ed25519 -p $ARRAY 127.0.0.1",
        'ADDRESSES=90.90.90.1 USER=admin HOST_KEY="ssh-ed25519 AAAA…"': "ADDRESSES=127.0.0.1"
        ' PORT=$ARRAY USER=admin HOST_KEY="$ARRAY_KEY"',
        'ADDRESSES=10.1.1.1 HOST_KEY="ssh-ed25519 AAAA…"': "ADDRESSES=127.0.0.1 PORT=$NODE"
        ' HOST_KEY="$NODE_KEY"',
        "@/root/.ssh/svc": "@$KEY",
        "@/root/.ssh/aix": "@$KEY",
        "REGION=eu-central-1 ACCESS_KEY=AKIA… SECRET_KEY=-": "REGION=$AWS_REGION"
        " ENDPOINT=$AWS_ENDPOINT_URL ACCESS_KEY=$AWS_ACCESS_KEY_ID SECRET_KEY=-"
        ' <<< "$AWS_SECRET_ACCESS_KEY"',
    },
    "restore-one-volume": {
        # Between the two restores of the page the disks are spare again.
        "flashvault restore RG1 --to hdisk18=hdisk30": f"{BLANK}flashvault restore RG1"
        " --to hdisk18=hdisk30",
        **SPARE,
    },
    "restore-with-nothing-but-the-bucket": {
        "/dev/mapper/mpatha": "$HOME/hdisk18.img",
        "/srv/hdisk19.img": "$HOME/hdisk19.img",
    },
    "restore-with-stock-tools": {
        "/01M83DQ4ST8XJSPHTQ58R2D7KS/": "/$POINT/",
        "01M83…/NAME.img.zst": "$POINT/$NAME",
        "/dev/mapper/mpatha": "$HOME/stock.img",
    },
    "rotate-a-key": {
        "flashvault key new /etc/flashvault/node1.key": "flashvault key new node1.key | tee said",
        "flashvault key new ./anna.key": "flashvault key new ./anna.key | tee said",
        # The passphrase that was known before is gone by now.
        "flashvault key remove $B node1": "FLASHVAULT_PASSPHRASE=$(cat new-passphrase-file)\n"
        "flashvault key remove $B node1",
        "fv-public-…": "$(grep -o 'fv-public-[^ ]*' said | head -1)",
    },
    "replace-the-array": {
        "hdisk18=hdisk40": "hdisk18=hdisk23",
        "hdisk19=hdisk41": "hdisk19=hdisk24",
        "ADDRESSES=… USER=…": "ADDRESSES=127.0.0.1 PORT=$ARRAY USER=admin",
        '"ssh-ed25519 …"': '"$ARRAY_KEY"',
        "@/root/.ssh/svc": "@$KEY",
        "flashvault map RG1": f"{BLANK}flashvault map RG1",
        "hdisk40=copy40": "hdisk18=Node1_6",
        "hdisk41=copy41": "hdisk19=Node1_7",
    },
    "use-the-lab": {
        "-i D/keys/id_ed25519 -p PORT admin@": f"{STRANGER} -p $ARRAY admin@",
        "-i D/keys/id_ed25519 -p PORT root@": f"{STRANGER} -p $NODE root@",
        "ssh …": f"ssh {STRANGER} -p $ARRAY admin@127.0.0.1",
        "if=my.img of=D/volumes/storage1": "if=$VOLUMES/Node1_2 of=$VOLUMES",
    },
}
"""What a reader puts in the place of a page's example, page by page."""

ONLY_IBM = "it is IBM's, on a cluster node"
NOT_RUN = {
    "add-a-profile": {
        "flashvault serve &": "the lab has a server; tests/deployments/test_unattended.py runs it",
        "flashvault add bucket pha-ibm": "no account of IBM's is at hand",
    },
    "restore-one-volume": {
        "mkdir /mnt/point": "a mount needs root and FUSE: tests/deployments/cli/test_mount.py",
        "flashvault mount": "the same",
        "mount -o": "the same",
        "cp /mnt": "the same",
        "umount": "the same",
    },
    "restore-with-nothing-but-the-bucket": {
        "python3 -m venv": "a package that is not published; the wheel has a test of its own",
        "export": "the lab's environment has them",
        "read -rs": "the bucket is not encrypted by us",
        "vgchange": "the disks hold noise, no volume group",
        "importvg": "the same",
    },
    "restore-with-stock-tools": {"for n in 0000": "a disk of more than one segment is too large"},
    "rotate-a-key": {"flashvault key add $B hsm": "no KMS is at hand"},
    "replace-the-array": {},
    "move-from-ibm-cbm": {
        "clmgr": ONLY_IBM,
        "flashvault add": "tests/deployments/cli/test_redpaper.py types these lines",
    },
    "read-a-failed-run": {},
    # Last: it breaks and mends what the others use.
    "use-the-lab": {
        "flashvault lab up": "the lab is up",
        'eval "$(flashvault lab env)"': "the reader's environment is that",
        "prefect deployment run": "a backup nobody waits for",
        "flashvault lab down": "the fixture takes it down",
        "flashvault map RG1 --remote": "a mirror has tests of its own: tests/e2e/test_remote.py",
        "flashvault modify": "the same",
        "flashvault sync": "the same",
        "flashvault check": "the same",
    },
}
"""Commands that are left out, by how they begin, and why."""

NOT_READ = {
    "disaster-runbook": "its commands are those of the pages it leads to",
    "failover": "needs a site lost between two commands: tests/e2e/test_remote.py does that",
    "protect-a-bucket": "a lock of 30 days outlives a test: tests/safety/test_stores.py",
    "run-at-scale": "needs several machines: tests/e2e/test_cluster.py",
    "run-unattended": "changes the machine's services: tests/deployments/test_unattended.py",
    "write-only-role": "no Amazon is at hand: tests/safety/test_role.py reads the policy",
}
"""Pages whose commands are not run, and why."""

PROVEN = {
    "add-a-profile": "cp $HOME/kept.xml $FLASHVAULT_CONFIG; flashvault apply; flashvault check\n",
    "restore-one-volume": "cmp $VOLUMES/Node1_2 $VOLUMES/Node1_7\n",
    "restore-with-nothing-but-the-bucket": "cmp $VOLUMES/Node1_1 $HOME/hdisk18.img\n"
    "cmp $VOLUMES/Node1_2 $HOME/hdisk19.img\n",
    "restore-with-stock-tools": "cmp $VOLUMES/Node1_1 $HOME/stock.img\n",
}
"""What must hold after a page, as commands."""

SHOWN = {
    "restore-one-volume": ["not restored: hdisk18"],
    "rotate-a-key": ["fv-public-", "KEY_ID"],
}
"""Words of a page that its commands must print."""

ASKS = re.compile(r"^flashvault (restore|failover|failback|switch)\b(?!.*--dry-run)", re.M)


def script(page: str) -> str:
    """Return what a reader of the page types, each command announced by its number."""
    left_out = set()
    lines = ["set -euo pipefail", PREPARED.get(page, "")]
    for number, command in enumerate(commands(page)):
        if skipped := [begin for begin in NOT_RUN[page] if command.startswith(begin)]:
            left_out.update(skipped)
            continue
        if ASKS.search(command):
            command = re.sub(r"(?= +#|$)", " --yes", command, count=1)
        for example, own in FILLED.get(page, {}).items():
            command = command.replace(example, own)
        lines += [f"echo '+++ {page}, command {number}' >&2", command]
    assert left_out == NOT_RUN[page].keys(), "a command that is no longer on the page"
    return "\n".join([*lines, f"echo '+++ {page}, proof' >&2", PROVEN.get(page, "")])


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Return the environment of a reader's shell: a lab of his own, and where it is."""
    home = tmp_path_factory.mktemp("reader")
    own = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**own, "HOME": str(home), "PATH": path, "DO_NOT_TRACK": "1"}
    place = ["--dir", str(home / "lab")]
    try:
        up = ["flashvault", "lab", "up", *place, "--size", "16M"]
        subprocess.run(up, env=environment, check=True, capture_output=True)
        site = lab.load_site(home / "lab")
        volumes = Path(site.volume("Node1_1").path).parent
        for name in ("Node1_1", "Node1_2"):
            with (volumes / name).open("r+b") as disk:
                disk.write(os.urandom(3_000_000))
        yield (
            environment
            | site.environment()
            | {
                "VOLUMES": str(volumes),
                "KEY": site.nodes[0].key_file,
                "NODE": str(site.nodes[0].port),
                "NODE_KEY": site.nodes[0].host_key,
                "ARRAY": str(site.storage_systems[0].port),
                "ARRAY_KEY": site.storage_systems[0].host_key,
            }
        )
    finally:
        down = ["flashvault", "lab", "down", *place, "--purge"]
        subprocess.run(down, env=environment, check=True, capture_output=True)


def read(page: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", script(page)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    for words in SHOWN.get(page, []):
        assert words in text, f"{words!r} is no longer on the page"
        assert words in said, f"{page}.md shows {words!r}, its commands do not"


def test_every_page_is_read_or_says_why_not() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == NOT_RUN.keys() | NOT_READ.keys()
    for page in NOT_READ:
        assert commands(page), "the shell must understand what it shows"


@pytest.mark.parametrize("page", NOT_RUN)
def test_a_reader_who_types_a_page_gets_there(page: str, reader: dict[str, str]) -> None:
    read(page, reader)
