"""The array: IBM SVC / Storage Virtualize, spoken to over its command line.

Start at `client`: one method per SVC command. `flashcopy` and `replication` hold the idioms that
need several; `model` says what the answers mean, `parse` how they are spelled, `shell` how any
command ends, `codes` what a refusal means. `waiting` waits for a state; `remote_view` is a
remote-copy group as one array sees it.

May import: ssh, units, errors. Knows nothing of hosts, images or Prefect (only `block.py` does).
Source: IBM's SVC command-line reference; docs/reference/svc-cli.md.
"""
