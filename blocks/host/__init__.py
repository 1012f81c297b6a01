"""The machine that sees the snapshot's disks: AIX or Linux, over SSH or right here.

Start at `base`: what a host can do. `aix` and `linux` do it; `identity` says which host disk is
which array volume; `powerha` whether the resource group is online; `quiesce` makes an application
quiet and always lets it go; `listings` reads what Linux's tools print. `local` and `remote` open
disks, here or over a session through what `dd` spells; `compare` and `agent` let a node hash its
own extents.

May import: ssh, units, errors. Source: docs/reference/aix-host.md.
"""
