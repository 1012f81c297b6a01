"""The ways in: schedules and registration with Prefect, the command line, and the lab.

Start at `cli`. May import everything below: flows, tasks, blocks.
"""
