"""Make an application or file system quiet, and always let it go.

Whatever happens inside, what was frozen is thawed and what was announced is revoked, in reverse
order. A thaw that finds nothing frozen means the copy taken inside is not consistent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from blocks.errors import FlashvaultError, FreezeExpired, HostError
from blocks.runner import Runner

log = logging.getLogger(__name__)

HOOK_TIMEOUT_S = 300.0


@contextmanager
def frozen_each(
    file_systems: Sequence[str],
    *,
    freeze: Callable[[str], None],
    thaw: Callable[[str], bool],
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Freeze file systems one after another; thaw all of them in reverse order on the way out.

    Args:
        file_systems: mount points, in the order to freeze.
        freeze: freezes one; it thaws by itself after `timeout_s`.
        thaw: thaws one; False when it was no longer frozen.
        timeout_s: how long a freeze lasts at most.
        clock: monotonic seconds.

    Raises:
        FreezeExpired: a thaw came too late: the copy taken inside is not consistent.
    """
    expired: list[str] = []
    failures: list[FlashvaultError] = []
    started = clock()

    def let_go(mount_point: str) -> None:
        try:
            if not thaw(mount_point):
                expired.append(mount_point)
        except FlashvaultError as error:
            # The others must be thawed all the same; this one thaws by its timeout.
            failures.append(error)

    with ExitStack() as thaws:
        for mount_point in file_systems:
            # Registered first: a freeze whose answer is lost may have frozen.
            thaws.callback(let_go, mount_point)
            freeze(mount_point)
        log.info("froze file_systems=%d", len(file_systems))
        yield
    if failures:
        raise failures[0]
    if expired or (file_systems and clock() - started >= timeout_s):
        names = ", ".join(expired or file_systems)
        raise FreezeExpired(
            f"{names} thawed after {timeout_s:.0f} s, before the snapshot was known to be started",
            hint="Prepare the FlashCopy group before the freeze, or allow the freeze more time.",
        )
    log.info("thawed file_systems=%d", len(file_systems))


@contextmanager
def hooked(
    runner: Runner, pre_freeze: str = "", post_thaw: str = "", *, timeout_s: float = HOOK_TIMEOUT_S
) -> Iterator[None]:
    """Run an operator's commands around a snapshot: the second always, once the first was begun.

    Args:
        runner: the node they run on.
        pre_freeze: a shell command, such as a database's SET WRITE SUSPEND; empty for none.
        post_thaw: its counterpart; it must be harmless when the first did not succeed.
        timeout_s: for each.

    Raises:
        HostError: one of them failed.
    """
    with ExitStack() as after:
        if post_thaw:
            after.callback(_run_hook, runner, "POST_THAW", post_thaw, timeout_s)
        if pre_freeze:
            _run_hook(runner, "PRE_FREEZE", pre_freeze, timeout_s)
        yield


def _run_hook(runner: Runner, name: str, command: str, timeout_s: float) -> None:
    done = runner.run(command, timeout_s=timeout_s)
    if done.status != 0:
        said = " ".join((done.stderr or done.stdout).split())[:300]
        raise HostError(
            f"{name} on {runner.address} ended with status {done.status}: {said}",
            hint=f"Run it by hand on the node: {command}",
        )
    log.info("ran hook=%s host=%s", name, runner.address)
