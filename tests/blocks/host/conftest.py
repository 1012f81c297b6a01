"""A node without a machine: answers to command lines, by their beginning."""

import pytest

from blocks.runner import Completed


class ScriptedRunner:
    """Answers a command with what is scripted for the longest part of it that matches."""

    address = "node"

    def __init__(self):
        self.answers = {}
        self.lines = []

    def say(self, part, stdout="", *, status=0, stderr=""):
        self.answers[part] = Completed(status, stdout, stderr)

    def run(self, command, *, timeout_s=60.0, stdin=None):
        line = command if isinstance(command, str) else " ".join(command)
        self.lines.append(line)
        matching = [part for part in self.answers if part in line]
        if matching:
            return self.answers[max(matching, key=len)]
        return Completed(127, "", f"ksh: {line.split()[1]}: not found")

    def ran(self, part):
        return [line for line in self.lines if part in line]

    def close(self):
        pass


@pytest.fixture
def runner():
    return ScriptedRunner()
