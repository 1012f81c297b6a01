"""Steps: each opens what it needs, calls one room of `blocks`, returns a small model.

Start at `pipeline`: the expressions in which strangers meet (a disk, the image engine, a store);
`recovery` is its twin, `transfer` moves the parts of both.

Backup, in its order: `decide`, `limits`, `preflight`, `publish` (claim, and commit last),
`snapshot` (on which array: `snapshot_source`), `capture`, `parent` (what an incremental builds on),
`staging` in `target_location`, `backed_up` (the report); `protection`: encryption, locks, alarms.
Restore: `plan`, `targets`, `restore`, `restoring`, `importing`, `inside`, `restored`; how long it
will take: `pace`. Without writing: `verify` and `rolling`, by `verification`; `lens` reads any
bytes, for a mount; both by `proven_reads`.
Several workers: `crew` (`capture_crew`, `capture_share`), `colleagues` starts them, `beats` tells
that they live.
Drills: `drill`, `drilled`, `drill_chart`. Space: `prune`; `compact_newest`, `compact_point`,
`compaction`, `live_frames`.
Second site: `remote_look`, `remote_setup`, `remote_memory`, `replication`, `lag_chart`; moves:
`sites`, `takeover`, `divergence` (what differs), `move_report`.
How all groups stand: `overview`, `dashboard`, `history_chart`.

What every step leans on: `steps` (Prefect task, or plain function), `retries`, `results`; `run` (id
and stop event), `journal` and `undo` (what must be unmade), `reconcile` (after a death); `open` and
`owner` (machines and buckets); `asking` (Prefect, with a deadline); `pool` (threads that move
bytes), `progress` and `counters`; `reports` and `notify`.
Retries, timeouts, tags and progress are declared in this package only. May import: blocks.
"""
