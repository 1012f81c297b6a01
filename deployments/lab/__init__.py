"""The whole system on one machine: real protocols, simulated iron.

Start at `site`: what `flashvault lab up` starts, and where everything is. `svc` is the array, `aix`
the node, `sshd` the SSH server before both, `session` what answers a login, `shell` what runs
there, with the programs of `filters`; `s3` the object store, `s3_proxy` the door before it that
breaks it; `disks` the volumes' files, `labels` what they say of themselves, `files` their contents.
`wiring` is what there is at first, `keys` its secrets, `register` its configuration; `arrays` and
`nodes` make the machines, `daemon` runs them, `processes` starts and ends it; `prefect_server` is
the lab's own. `control` asks the daemon, `faults` is what it can break. `demo` narrates.

`svc`, `aix` and `sshd` are written from IBM's documents (docs/reference/svc-cli.md,
docs/reference/aix-host.md) and import nothing of `blocks`: a misunderstanding must not be shared.
"""
