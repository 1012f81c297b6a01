"""What the system is made of: clients, formats and rules; no orchestration.

Read the sentence and pick a room: a `profile` says what is wanted; `policy` decides what to do
now; `svc` takes a consistent snapshot; a `host` sees its disks; `image` turns them into frames;
`store` keeps them; `catalog` says what can be restored. Restore is the same sentence backwards.

What the rooms share: `errors`, `units`; `runner` runs a command here, `ssh` elsewhere, with
`hostkeys` and `sshkeys`.

The word has a second meaning in Prefect (a configured connection, with its secrets): here that is
always, and only, a file called `block.py`. Nothing else under `blocks` imports Prefect.
"""
