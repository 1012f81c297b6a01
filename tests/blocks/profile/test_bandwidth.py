from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from blocks.profile.bandwidth import Bandwidth, BandwidthText, Hours
from blocks.units import MIB

TEXT = TypeAdapter(BandwidthText)


def printed(limit: Bandwidth) -> str:
    return TEXT.dump_python(limit, mode="json")


def test_a_rate_and_other_hours():
    limit = TEXT.validate_python("50MiB/s, 08:00-18:00=10MiB/s, 22:00-6:00=unlimited")
    assert limit.otherwise == 50 * MIB
    assert [rule.bytes_per_s for rule in limit.hours] == [10 * MIB, 0]
    assert printed(limit) == "50MiB/s,08:00-18:00=10MiB/s,22:00-06:00=unlimited"


def test_hours_alone_leave_the_rest_of_the_day_free():
    limit = TEXT.validate_python("08:00-18:00=10MiB/s")
    assert limit.otherwise == 0
    assert printed(limit) == "08:00-18:00=10MiB/s"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5", "too slow"),
        ("50MiB/s,40MiB/s", "two rates without hours"),
        ("50MiB/s,08:00=10MiB/s", "is not like 08:00-18:00=10MiB/s"),
        ("08:00-08:00=10MiB/s", "no time at all"),
        ("08:00-25:00=10MiB/s", "not a time of day"),
        ("08:00-18:00=10MiB/s,17:00-19:00=20MiB/s", "overlaps"),
        ("22:00-06:00=10MiB/s,05:00-07:00=20MiB/s", "overlaps"),
        ("unlimited", "limits nothing"),
        ("08:00-18:00=unlimited", "limits nothing"),
        ("50MiB/s,", "two rates without hours"),
    ],
)
def test_what_makes_no_sense_is_refused(text, why):
    with pytest.raises(ValidationError, match=why):
        TEXT.validate_python(text)


@given(
    otherwise=st.integers(64 * 1024, 10**12),
    begin=st.times(),
    end=st.times(),
    rate=st.just(0) | st.integers(64 * 1024, 10**12),
)
def test_what_is_printed_reads_as_the_same(otherwise, begin, end, rate):
    begin, end = time(begin.hour, begin.minute), time(end.hour, end.minute)
    hours = (Hours(begin=begin, end=end, bytes_per_s=rate),) if begin != end else ()
    limit = Bandwidth(otherwise=otherwise, hours=hours)
    assert TEXT.validate_python(printed(limit)) == limit
