"""The whole system on one machine: real protocols, simulated iron.

Start at `site`: what `flashvault lab up` starts, and where everything is. `svc` is the array, `aix`
the node, `sshd` the SSH server before both, `session` what answers a login, `s3` the object
store, `disks` the volumes' files.

`svc`, `aix` and `sshd` are written from IBM's documents (docs/reference/svc-cli.md,
docs/reference/aix-host.md) and import nothing of `blocks`: a misunderstanding must not be shared.
"""
