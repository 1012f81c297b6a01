"""What can be restored. The bucket is the truth; anything else is a cache.

Start at `point`: a restore point names, for every volume of a group, the map of its extents.
`shelf` lists, reads and publishes points in a store (the point is written last: until it exists
there is no restore point); `claims` keeps a backup and a prune from ever racing.
Deleting: `prune`, from one `view`, by `marks`; `leftovers` of dead runs (`owner`). Losing and
finding again: `rebuild`, `remap`, `labels`. Proof: `readings` and `drills` (documents `carried` on
from run to run), `findings`, `signature`.
Small things: `chain` (which objects a point needs), `document`, `keyring`, `readme` (the bucket's
README.txt), `orders` (between workers of one group).

May import: image, store, units, errors.
"""
