"""Ask the lab's daemon for what no machine in it can be asked: cut a link, switch an array off."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from blocks.errors import ConfigError, FlashvaultError

LIMIT_S = 30.0


def ask(directory: Path, action: str, **words: Any) -> dict[str, Any]:
    """Send one control request to the lab in this directory and return the answer.

    Raises:
        ConfigError: no lab is up there.
        FlashvaultError: the daemon does not know the request.
    """
    try:
        ready = json.loads((directory / "run" / "daemon.json").read_text())
        connection = socket.create_connection(("127.0.0.1", ready["control_port"]), LIMIT_S)
    except (FileNotFoundError, ConnectionError) as error:
        raise ConfigError(
            f"no lab is up in {directory}", hint=f"flashvault lab up --dir {directory}"
        ) from error
    with connection, connection.makefile("rwb") as stream:
        request = {"token": ready["token"], "action": action, **words}
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()
        answer: dict[str, Any] = json.loads(stream.readline())
    if "error" in answer:
        raise FlashvaultError(f"the lab's daemon: {answer['error']}")
    return answer
