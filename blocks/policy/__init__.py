"""What to do now. Pure: `now` is an argument, nothing is read or changed.

Start at `schedule` (due, early, missed, overdue), then `mode` (full or incremental, and from which
parent) and `retention` (which restore points stay, and why).
Restores: `recovery`. Second site: `replication`, `mirror_setup`, `takeover`, `disaster`, `loss`,
by what `situation` sees; `refusals` is how all say no.
Watching: `overview`, `anomaly`, `rolling` (what verify reads), `drilling`. `pairing` matches disks.

May import: catalog, profile, units, errors.
"""
