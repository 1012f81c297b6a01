"""A little array without a network: enough of SVC to walk the client through every state."""

import shlex

import pytest

from blocks.runner import Completed
from blocks.svc.client import SvcClient

MAP_COLUMNS = """id name source_vdisk_id source_vdisk_name target_vdisk_id target_vdisk_name
group_id group_name status progress copy_rate clean_progress incremental partner_FC_id
partner_FC_name restoring start_time rc_controlled""".split()  # noqa: SIM905


class FakeArray:
    """Answers like an SVC; `moves` are states the group takes on the next looks at it."""

    address = "fake"

    def __init__(self, state="idle_or_copied"):
        self.state = state
        self.moves = []
        self.lines = []
        self.start_time = "200506035630"
        self.flush_to = "prepared"
        self.stop_to = "stopped"
        self.next_answers = []
        self.members = 2

    def run(self, command, *, timeout_s=60.0, stdin=None):
        self.lines.append(command)
        if self.next_answers:
            answer = self.next_answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                return answer
        verb, *words = shlex.split(command)
        handler = getattr(self, verb, None)
        if handler is None:
            return Completed(127, "", f"rbash: {verb}: command not found")
        return handler(words)

    def close(self):
        pass

    @property
    def verbs(self):
        return [line.split()[0] for line in self.lines]

    def acted(self):
        return [verb for verb in self.verbs if not verb.startswith("ls")]

    def lsfcconsistgrp(self, words):
        if self.moves:
            self.state = self.moves.pop(0)
        lines = ["id!1", "name!FC1", f"status!{self.state}", "autodelete!off"]
        lines += [f"start_time!{self.start_time}", "owner_id!", "owner_name!"]
        for number in range(self.members if self.state != "empty" else 0):
            lines += [f"FC_mapping_id!{number}", f"FC_mapping_name!fcmap{number}"]
        return Completed(0, "\n".join(lines) + "\n", "")

    def lsfcmap(self, words):
        id_ = words[-1]
        values = dict.fromkeys(MAP_COLUMNS, "")
        values |= {
            "id": id_,
            "name": f"fcmap{id_}",
            "source_vdisk_id": "10",
            "source_vdisk_name": "src",
            "target_vdisk_id": "20",
            "target_vdisk_name": "dst",
            "status": self.state if self.state != "empty" else "idle_or_copied",
            "progress": "7",
            "copy_rate": "50",
            "incremental": "on",
            "difference": str(3 + int(id_)),
            "grain_size": "256",
        }
        return Completed(0, "".join(f"{k}!{v}\n" for k, v in values.items()), "")

    def chfcmap(self, words):
        return Completed(0, "", "")

    def prestartfcconsistgrp(self, words):
        if self.state not in {"idle_or_copied", "stopped"}:
            return self._refuse("CMMVC5903E")
        self.state = "preparing"
        self.moves = ["preparing", self.flush_to]
        return Completed(0, "", "")

    def startfcconsistgrp(self, words):
        if self.state == "copying":
            return self._refuse("CMMVC5907E")
        if self.state != "prepared":
            return self._refuse("CMMVC5903E")
        self.state = "copying"
        self.start_time = "261123035630"
        return Completed(0, "", "")

    def stopfcconsistgrp(self, words):
        if self.state == "idle_or_copied":
            return Completed(0, "", "")
        if self.state == "stopped":
            return self._refuse("CMMVC5912E")
        if self.state not in {"prepared", "copying", "stopping", "suspended"}:
            return self._refuse("CMMVC5903E")
        self.state = "stopping"
        self.moves = [self.stop_to]
        return Completed(0, "", "")

    @staticmethod
    def _refuse(code):
        return Completed(1, "", f"{code} The action failed.\n")


@pytest.fixture
def array():
    return FakeArray()


@pytest.fixture
def client(array):
    made = SvcClient(array)
    made.shell._pause = lambda seconds: None
    return made


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("blocks.svc.flashcopy.POLL_S", 0.001)
    monkeypatch.setattr("blocks.svc.flashcopy.POLL_MAX_S", 0.002)
