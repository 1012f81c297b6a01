"""The simulated AIX node: what its commands answer, and what it remembers.

Start at `machine`: one node, and `run`, which answers one command line.
`odm` holds what a node remembers and what a volume group's disks say about themselves; `programs`
how a command registers; `system`, `disks`, `groups`, `files`, `cluster`, `transfer` and `python`
carry them.

Written from docs/reference/aix-host.md. Imports nothing of `blocks`, `tasks` or `flows`: a
misunderstanding must not be shared with our client. No network here; see `..sshd`.
"""
