"""Which part of a file is sent."""

from __future__ import annotations

import pytest

from appliance.kernel.http.ranges import Selection, select

WHOLE = Selection(200, 0, 1000)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-99", Selection(206, 0, 100)),
        ("bytes=500-", Selection(206, 500, 500)),
        ("bytes=-100", Selection(206, 900, 100)),
        ("bytes=-5000", Selection(206, 0, 1000)),
        ("bytes=990-5000", Selection(206, 990, 10)),
        ("bytes=500-0", Selection(416)),
        ("bytes=1000-", Selection(416)),
        ("bytes=-0", Selection(416)),
        ("bytes=0-1,5-6", WHOLE),
        ("lines=0-1", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=a-b", WHOLE),
        ("", WHOLE),
    ],
)
def test_range(value: str, expected: Selection) -> None:
    """One range of bytes is served, the unsatisfiable is 416, the rest is ignored."""
    assert select({"range": value}, 1000, "") == expected


@pytest.mark.parametrize("value", ['"abc"', 'W/"abc"', '"x", "abc"', "*"])
def test_unchanged(value: str) -> None:
    """A client that names the tag gets 304, even when it asks for a range."""
    assert select({"if-none-match": value, "range": "bytes=0-1"}, 1000, "abc") == Selection(304)


def test_changed() -> None:
    """Another tag, or a file without one, is sent whole."""
    assert select({"if-none-match": '"x"'}, 1000, "abc") == WHOLE
    assert select({"if-none-match": "*"}, 1000, "") == WHOLE


def test_range_only_of_the_same_file() -> None:
    """If-Range with another tag gives the whole file, not a part that does not fit."""
    asked = {"range": "bytes=0-1"}
    assert select(asked | {"if-range": '"abc"'}, 1000, "abc") == Selection(206, 0, 2)
    assert select(asked | {"if-range": '"old"'}, 1000, "abc") == WHOLE


def test_range_of_nothing() -> None:
    """An empty file has no byte to ask for."""
    assert select({"range": "bytes=0-"}, 0, "") == Selection(416)
    assert select({}, 0, "") == Selection(200, 0, 0)
