"""Progress on a terminal: a name, a bar, how much, how fast, how long; whole on 80 columns."""

import io
import threading

from rich.console import Console

from deployments.cli import progress
from tasks.counters import tracked
from tasks.transfer import Progress


def test_on_80_columns_no_number_is_cut_whatever_the_name(monkeypatch):
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(progress, "err", lambda: screen)
    counters = Progress(label="capture of hdisk18 of a group with a long name")
    counters.begin(counters.label, 300 << 30)
    counters.add(123 << 30)
    over = threading.Event()
    with tracked(counters):
        shown = threading.Thread(target=progress._bars, args=(over,))
        shown.start()
        over.wait(0.5)
        counters.add(1 << 30)
        over.wait(0.5)
        over.set()
        shown.join()
    lines = [line for line in screen.file.getvalue().splitlines() if "300.0 GiB" in line]
    assert lines, screen.file.getvalue()
    assert "124.0/300.0 GiB" in lines[-1]
    assert "B/s" in lines[-1]
    assert "capture of hdisk18" in lines[-1]
    assert "…" in lines[-1][:30], "the name is what gives way"


def test_a_piped_run_has_no_bars_and_quiet_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.05)
    counters = Progress(label="capture hdisk18")
    counters.begin(counters.label, 4 << 20)
    counters.add(1 << 20)
    with tracked(counters), progress.shown_progress():
        threading.Event().wait(0.3)
    said = capsys.readouterr()
    assert "capture hdisk18: 1.0 MiB of 4.0 MiB" in said.err
    assert "\x1b" not in said.err
    assert said.out == ""
    with tracked(counters), progress.shown_progress(quiet=True):
        threading.Event().wait(0.2)
    assert capsys.readouterr() == ("", "")
