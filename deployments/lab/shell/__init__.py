"""The simulated machines' shell: enough of bash for what people type at an array and at AIX.

Start at `run`: it walks the `tree` that `grammar` makes of a line (`reading` reads its words).
`words` turns words into fields, `braces` before that; `arithmetic` computes, `conditions` judge,
`builtins` are the commands that change the shell itself, `scope` what it remembers, `streams` what
a program gets. Nothing of the real
machine is ever run from here: every program is a Python function over an `Io`.
"""

from deployments.lab.shell.run import is_unfinished, run_line
from deployments.lab.shell.streams import Io, Lookup, Program, Sink

__all__ = ["Io", "Lookup", "Program", "Sink", "is_unfinished", "run_line"]
