"""The array's SSH server to OpenSSH's client, to a script piped in, to a person's terminal."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from answers import Answer, made, refused, says, table

from deployments.lab.keys import Keys


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no OpenSSH client")
def test_the_openssh_client_gets_streams_and_status(server, tmp_path) -> None:
    key = str(Keys(tmp_path / "keys").key_file("id"))
    options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={tmp_path}/known", "BatchMode=yes"]
    words = ["ssh", "-n", "-p", str(server.port), "-i", key, "-F", "none"]
    words += [word for option in options for word in ("-o", option)]
    for line, check in [
        ("svcinfo lsvdisk -nohdr -delim : | cut -d: -f2 | head -1", says(r"\ANode1_1\n\Z")),
        ("lsfcmap -delim :", table(":", "source_vdisk_name", "status", least=2)),
        ("lshostvdiskmap | grep -w node1", says(r"^0 +node1 .* io_grp0 ")),
        ("svctask mkfcmap -source Node1_1 -target Node1_6 -copyrate 100", made),
        ("svctask rmfcmap nope", refused("CMMVC5754E")),
        ("lsvdisk nope 2>/dev/null; echo $?", says(r"\A1\n\Z")),
    ]:
        done = subprocess.run(
            [*words, "-q", "admin@127.0.0.1", line],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        check(Answer(done.stdout, done.stderr, done.returncode))
    words.remove("-n")
    for option, typed, shown, status in [
        ("-T", "lsvdisk -nohdr 0 | head -2\nexit 3\n", "0\nNode1_1\n", 3),
        ("-tt", "echo typed\nexit\n", "IBM_storage1:admin>echo typed\r\ntyped\r\n", 0),
    ]:
        done = subprocess.run(
            [*words, "-q", option, "admin@127.0.0.1"],
            input=typed.encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.stderr, done.returncode) == (b"", status)
        assert shown in done.stdout.decode()


SCRIPT = b"""names=
for name in $(lsvdisk -nohdr -delim : | cut -d: -f2 | head -2)
do
  names="$names $name"
done
echo "got$names"
lsvdisk nope
exit 7
echo never
"""


def test_a_script_piped_in_is_answered_without_prompts(client) -> None:
    """`ssh -T array < script`: a command may take several lines."""
    channel = client.ssh.get_transport().open_session()
    channel.invoke_shell()
    channel.sendall(SCRIPT)
    channel.shutdown_write()
    assert channel.makefile("rb").read() == b"got Node1_1 Node1_2\n"
    assert channel.makefile_stderr("rb").read().startswith(b"CMMVC5754E")
    assert channel.recv_exit_status() == 7


def test_a_terminal_echoes_corrects_and_prompts(client) -> None:
    """What a person types, or an expect script: the terminal is the server's business."""
    channel = client.ssh.invoke_shell()
    prompt = "IBM_storage1:admin>"
    for typed, shown in [
        (b"", prompt),
        (b"lsvx\x7fdisk -nohdr \x1b[A| wc -l\r", "lsvx\b \bdisk -nohdr | wc -l\r\n6\r\n" + prompt),
        (b"lsvdisk nope\r\n", "lsvdisk nope\r\nCMMVC5754E"),
        (b"for i in 1 2\r", "for i in 1 2\r\n> "),
        (b"do echo n$i; done\r", "done\r\nn1\r\nn2\r\n" + prompt),
        (b"if half\x03echo on\r", "if half^C\r\n" + prompt + "echo on\r\non\r\n" + prompt),
        (b"x=5\recho $x\r", "echo $x\r\n5\r\n" + prompt),
    ]:
        channel.sendall(typed)
        said = ""
        while shown not in said:
            channel.settimeout(10)
            said += channel.recv(4096).decode()
        while not said.endswith((prompt, "> ")):
            said += channel.recv(4096).decode()
    channel.sendall(b"\x04")
    assert channel.recv_exit_status() == 0
