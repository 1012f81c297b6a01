"""docs/reference/svc-client.md says what the program does."""

from pathlib import Path

from blocks.svc.codes import MEANINGS
from blocks.svc.flashcopy import NEXT, WAY_BACK
from blocks.svc.model import CopyState, RemoteState
from blocks.svc.replication import ON_START, ON_STOP, ON_STOP_ACCESS, ON_SWITCH

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "svc-client.md"


def rows():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines}


def test_the_page_lists_every_code_with_its_error_and_hint():
    told = {row for row in rows() if row[0].startswith("CMMVC")}
    assert told == {(code, kind.__name__, hint) for code, (kind, hint) in MEANINGS.items()}


def test_the_page_tells_every_step_from_every_state():
    told = rows()
    for state in CopyState:
        assert (state, NEXT[state].value, WAY_BACK[state].value) in told
    for state in RemoteState:
        moves = (ON_START[state], ON_STOP[state], ON_STOP_ACCESS[state], ON_SWITCH[state])
        assert (state, *(move.value for move in moves)) in told
