"""What `apply` reads of a large site; `test_apply` does it with a server."""

from __future__ import annotations

import pytest

from deployments.register import PAGE, _pages


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_all_rows_are_read_however_many_there_are(count):
    """One answer ends at 200 rows: the alarms of the other groups would be made again each time."""
    rows = [f"row {number:04d}" for number in range(count)]

    def read(*, limit: int, offset: int) -> list[str]:
        assert limit <= 200
        return rows[offset : offset + limit]

    assert list(_pages(read)) == rows
