import pytest

from blocks.errors import FreezeExpired, HostError
from blocks.host.quiesce import frozen_each, hooked
from blocks.runner import LocalRunner


class FileSystems:
    def __init__(self, *, fails_to_freeze="", already_thawed="", fails_to_thaw=""):
        self.calls = []
        self._fails_to_freeze = fails_to_freeze
        self._already_thawed = already_thawed
        self._fails_to_thaw = fails_to_thaw

    def freeze(self, name):
        self.calls.append(f"freeze {name}")
        if name == self._fails_to_freeze:
            raise HostError(f"{name} is busy")

    def thaw(self, name):
        self.calls.append(f"thaw {name}")
        if name == self._fails_to_thaw:
            raise HostError("no answer")
        return name not in {self._already_thawed, self._fails_to_freeze}

    def frozen(self, clock=lambda: 0.0):
        names = ["/a", "/b", "/c"]
        return frozen_each(names, freeze=self.freeze, thaw=self.thaw, timeout_s=30, clock=clock)


def test_all_are_thawed_in_reverse_order():
    disks = FileSystems()
    with disks.frozen():
        disks.calls.append("start")
    assert disks.calls == [
        *("freeze /a", "freeze /b", "freeze /c"),
        "start",
        *("thaw /c", "thaw /b", "thaw /a"),
    ]


def test_an_error_inside_thaws_and_stays_the_error():
    disks = FileSystems()
    with pytest.raises(KeyError), disks.frozen():
        raise KeyError("inside")
    assert disks.calls[-3:] == ["thaw /c", "thaw /b", "thaw /a"]


def test_a_freeze_that_fails_thaws_what_was_frozen_itself_included():
    disks = FileSystems(fails_to_freeze="/b")
    with pytest.raises(HostError, match="/b is busy"), disks.frozen():
        pytest.fail("not reached")
    assert disks.calls == ["freeze /a", "freeze /b", "thaw /b", "thaw /a"]


def test_a_thaw_that_fails_does_not_keep_the_others_frozen():
    disks = FileSystems(fails_to_thaw="/c")
    with pytest.raises(HostError, match="no answer"), disks.frozen():
        pass
    assert disks.calls[-2:] == ["thaw /b", "thaw /a"]


def test_what_was_already_thawed_makes_the_copy_inconsistent():
    with pytest.raises(FreezeExpired, match="/b"), FileSystems(already_thawed="/b").frozen():
        pass


def test_a_freeze_that_lasted_too_long_makes_the_copy_inconsistent():
    ticks = iter([0.0, 31.0])
    with pytest.raises(FreezeExpired), FileSystems().frozen(clock=lambda: next(ticks)):
        pass


def test_hooks_run_around_and_the_second_always(tmp_path):
    story = tmp_path / "story"
    runner = LocalRunner()
    with pytest.raises(KeyError), hooked(runner, f"echo pre >>{story}", f"echo post >>{story}"):
        raise KeyError
    assert story.read_text().split() == ["pre", "post"]
    with (
        pytest.raises(HostError, match="PRE_FREEZE"),
        hooked(runner, "exit 3", f"echo post >>{story}"),
    ):
        pytest.fail("not reached")
    assert story.read_text().split() == ["pre", "post", "post"]


def test_no_hooks_do_nothing():
    with hooked(LocalRunner()):
        pass
