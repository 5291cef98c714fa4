"""Headers of messages: what may travel, and its size."""

from __future__ import annotations

import pytest

from appliance.kernel.bus.headers import BadHeader, size_of_headers


def test_size_is_that_of_the_wire() -> None:
    """The bytes of the block as a NATS client writes it, characters beyond ASCII included."""
    headers = {"X-Appliance-Room": "dea", "Name": "Jürgen"}
    wire = "NATS/1.0\r\nX-Appliance-Room: dea\r\nName: Jürgen\r\n\r\n".encode()

    assert size_of_headers(headers) == len(wire)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("a b", "x"),
        ("a:b", "x"),
        ("a\r\n", "x"),
        ("ä", "x"),
        ("a", "x\r\nb: y"),
        ("a", "x\n"),
        ("a", "\ud800"),
    ],
)
def test_what_would_break_the_block_is_refused(name: str, value: str) -> None:
    """A header must not be able to begin another one, or a command."""
    with pytest.raises(BadHeader):
        size_of_headers({name: value})
