"""The ways in: schedules and registration with Prefect, the command line, and the lab.

Start at `cli`; `lab` is the simulated site.
Prefect: `schedules` says what is wanted of it, `automations` its alarms, `credentials` its secrets;
`register` brings them in step, `drift` tells what differs. `runtime` runs a flow here and now,
`shim` on a worker; `serve` is everything on one machine; `settings` are ours for Prefect.
Looking: `checks`, `history` (what ran), `metrics`. `cores`: no core files.

May import everything below: flows, tasks, blocks.
"""
