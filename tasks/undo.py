"""How each kind of thing a run may leave behind is unmade: at its end, or after its death."""

from __future__ import annotations

from tasks.capture_crew import ORDERED, withdraw_order
from tasks.drill import IMPORTED, SCRATCH, release_imported, remove_scratch
from tasks.inside import LOOKING, leave_looking
from tasks.limits import PLACED, free_place
from tasks.publish import CLAIMED, withdraw
from tasks.restore_crew import RESTORING, withdraw_restore
from tasks.run import Undo
from tasks.snapshot import FROZEN, PREPARED, thaw, unprepare
from tasks.target_location import STAGED, remove_staged

UNDO: dict[str, Undo] = {
    PLACED: free_place,
    CLAIMED: withdraw,
    ORDERED: withdraw_order,
    RESTORING: withdraw_restore,
    PREPARED: unprepare,
    FROZEN: thaw,
    STAGED: remove_staged,
    SCRATCH: remove_scratch,
    IMPORTED: release_imported,
    LOOKING: leave_looking,
}
