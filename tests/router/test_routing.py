"""Requests reach the right app, with a head that only the router has written."""

from __future__ import annotations

from tests.router.rig import ok, running, says


async def test_sends_each_host_to_its_own_app_on_one_connection() -> None:
    """A kept-alive connection is routed request by request, not once."""
    async with running() as router:
        await router.app(says(ok(b"one")), "one.apps.localhost")
        await router.app(says(ok(b"two")), "two.apps.localhost")
        async with router.client() as client:
            bodies = [(await client.get(f"{n}.apps.localhost")).body for n in ("one", "two", "one")]
    assert bodies == [b"one", b"two", b"one"]
