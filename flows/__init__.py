"""Decisions and their order: each flow fits on a page and reads as a table of contents.

Start at `backup`; how each ended: `endings`. The only place that may read the clock; `now` travels
down as an argument.
Flow parameters are names and numbers. May import: tasks, blocks. Name no file after a module of
the standard library (a file `queue.py` here once broke Prefect's own import).
"""
