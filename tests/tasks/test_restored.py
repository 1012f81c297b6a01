"""What a person reads after a restore with damage: where it is, byte by byte."""

from tasks.restored import LISTED, damage_markdown


def test_every_damaged_range_is_told_with_its_place_on_the_disk():
    bad = [{"offset": 4096, "bytes": 8192}, {"offset": 1 << 20, "bytes": 1}]
    lines = damage_markdown([{"disk": "hdisk18", "bad": bad}, {"disk": "hdisk19", "bad": []}])
    assert "| hdisk18 | 4096 | 12287 | 8.0 KiB |" in lines
    assert "| hdisk18 | 1048576 | 1048576 | 1 B |" in lines
    assert not any("hdisk19" in line for line in lines)


def test_without_damage_nothing_is_listed():
    assert damage_markdown([{"disk": "hdisk18", "bad": []}]) == []


def test_of_very_many_ranges_the_rest_is_counted():
    bad = [{"offset": 2 * at, "bytes": 1} for at in range(LISTED + 7)]
    assert any("7 more" in line for line in damage_markdown([{"disk": "d", "bad": bad}]))
