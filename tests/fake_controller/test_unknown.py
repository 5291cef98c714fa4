"""What clients ask for in vain is remembered."""

from __future__ import annotations

from fake_controller.unknown import MOST, Unknown

from .conftest import Cloud


async def test_an_unknown_path_is_remembered(cloud: Cloud) -> None:
    """It is a proper 404, and counted once for all guids."""
    for guid in ("a" * 8, "b" * 8):
        path = f"/v3/clouds/{guid}-0000-0000-0000-000000000000"
        answer = await cloud.raw("GET", path)
        assert (answer.status, answer.json()["errors"][0]["detail"]) == (404, "Unknown request")

    info = await cloud.call("GET", "/_appliance/info", expect=200)

    assert info["unknown_requests"] == [{"method": "GET", "path": "/v3/clouds/:guid", "times": 2}]


def test_what_is_remembered_is_bounded() -> None:
    """A scanner cannot fill the memory; what is known goes on being counted."""
    unknown = Unknown()
    for number in range(2 * MOST):
        unknown.note("GET", f"/{number}")
    unknown.note("GET", "/0")

    assert len(unknown.listed()) == MOST
    assert unknown.listed()[0] == {"method": "GET", "path": "/0", "times": 2}
