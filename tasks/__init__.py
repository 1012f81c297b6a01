"""Steps: each opens what it needs, calls one room of `blocks`, returns a small model.

Start at `pipeline`: the expressions in which strangers meet (a disk, the image engine, a store).
Retries, timeouts, tags and progress are declared in this package only. May import: blocks.
"""
