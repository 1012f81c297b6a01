"""What a person sees while bytes move: bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from blocks.units import format_duration, format_size
from deployments.cli.output import err
from tasks.counters import Counters, running

REDRAW_S = 0.2
LINE_EVERY_S = 15.0
NAME_WIDTH = 22
BAR_WIDTH = 14


@contextmanager
def shown_progress(*, quiet: bool = False) -> Iterator[None]:
    """Show the steps of this process that are moving bytes, for as long as the block runs."""
    if quiet:
        yield
        return
    over = threading.Event()
    show = _bars if sys.stderr.isatty() else _lines
    thread = threading.Thread(target=show, args=(over,), daemon=True, name="progress-display")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _bars(over: threading.Event) -> None:
    # Numbers are never cut: on 80 columns the name and the bar give way.
    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=NAME_WIDTH)),
        BarColumn(bar_width=BAR_WIDTH),
        DownloadColumn(binary_units=True, table_column=whole),
        TransferSpeedColumn(table_column=whole.copy()),
        TimeRemainingColumn(table_column=whole.copy()),
    )
    known: dict[int, tuple[Counters, TaskID]] = {}
    with Progress(*columns, console=err()) as bars:
        while True:
            is_last = over.wait(REDRAW_S)
            for counters in running():
                if id(counters) not in known:
                    bar = bars.add_task(counters.label, total=counters.total_bytes)
                    known[id(counters)] = (counters, bar)
            for counters, bar in known.values():
                bars.update(bar, completed=counters.done_bytes, total=counters.total_bytes)
            if is_last:
                return


def _lines(over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(LINE_EVERY_S):
        for counters in running():
            done = counters.done_bytes
            elapsed = time.monotonic() - began
            rate = done / elapsed
            left = (counters.total_bytes - done) / rate if rate else 0.0
            sys.stderr.write(
                f"{counters.label}: {format_size(done)} of {format_size(counters.total_bytes)}, "
                f"{format_size(rate)}/s, {format_duration(left)} left\n"
            )
