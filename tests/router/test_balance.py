"""Each route's requests are spread as its own options ask, whatever the router is set to."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from appliance.router.balance import BadOptions, by_hash, spread_of
from appliance.router.endpoint import Endpoint
from appliance.router.messages import RouteOptions
from tests.router.rig import Raw, free_port, ok, running, says

HOST = "app.apps.localhost"
BY_TENANT = RouteOptions(loadbalancing="hash", hash_header="X-Tenant")
NAMES = ("one", "two", "three", "four")


def endpoints(*names: str) -> list[Endpoint]:
    """Endpoints with these instance ids, on ports of their own."""
    return [Endpoint("h", 1 + n, instance=name) for n, name in enumerate(names)]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (RouteOptions(loadbalancing="random"), "no load balancing 'random'"),
        (RouteOptions(loadbalancing="hash"), "hash_header"),
        (RouteOptions(loadbalancing="hash", hash_header="X", hash_balance="much"), "not a number"),
        (RouteOptions(loadbalancing="hash", hash_header="X", hash_balance=0.5), "at least 1"),
        (RouteOptions(loadbalancing="hash", hash_header="X", hash_balance="nan"), "at least 1"),
    ],
)
def test_options_that_mean_nothing_are_told_apart(options: RouteOptions, why: str) -> None:
    """Each with a sentence that names what is wrong."""
    with pytest.raises(BadOptions, match=why):
        spread_of(options)


def test_no_options_leave_the_choice_to_the_router() -> None:
    """Neither absent ones nor empty ones ask for anything."""
    assert spread_of(None) is None
    assert spread_of(RouteOptions()) is None


@given(value=st.binary(max_size=40), gone=st.sampled_from(NAMES))
def test_a_value_moves_only_when_its_own_endpoint_goes(value: bytes, gone: str) -> None:
    """The endpoint of a value does not depend on order, port or the others."""
    before = by_hash(endpoints(*NAMES), value, 0, now=0)
    left = endpoints(*reversed([name for name in NAMES if name != gone]))
    after = by_hash(left, value, 0, now=0)

    assert before is not None
    assert after is not None
    assert (after.instance == before.instance) == (before.instance != gone)


def test_values_are_spread_over_all_endpoints() -> None:
    """A thousand values: no endpoint has less than half of its share, or more than twice."""
    four = endpoints(*NAMES)
    chosen = Counter(str(by_hash(four, b"tenant-%d" % n, 0, now=0)) for n in range(1000))

    assert len(chosen) == 4
    assert all(125 < count < 500 for count in chosen.values())


def test_balance_bounds_what_one_value_can_do_to_its_endpoint() -> None:
    """All requests have one value: the next endpoint in rank takes what is above the bound."""
    three = endpoints("one", "two", "three")
    for _ in range(30):
        chosen = by_hash(three, b"same", 1.5, now=0)
        assert chosen is not None
        chosen.active += 1

    assert sorted(one.active for one in three)[1:] == [15, 15]


def test_what_failed_lately_or_was_tried_is_passed_over() -> None:
    """And nothing is chosen when nothing is left."""
    two = endpoints("one", "two")
    first = by_hash(two, b"v", 0, now=0)
    assert first is not None
    second = by_hash(two, b"v", 0, now=0, tried=[first])
    first.failed_until = 5

    assert second not in (None, first)
    assert by_hash(two, b"v", 0, now=1) is second
    assert by_hash(two, b"v", 0, now=6) is first
    assert by_hash(two, b"v", 0, now=1, tried=two) is None


async def test_equal_header_values_reach_one_instance() -> None:
    """Other values reach others, and requests without the header take turns."""
    async with running() as router:
        for name in NAMES:
            body = ok(name.encode())
            await router.app(says(body), HOST, instance=name, options=BY_TENANT)
        same = {(await router.get(HOST, X_Tenant="t1")).body for _ in range(6)}
        several = {(await router.get(HOST, x_tenant=f"t{n}")).body for n in range(30)}
        turns = Counter([(await router.get(HOST)).body for _ in range(8)])

    assert len(same) == 1
    assert len(several) == 4
    assert set(turns.values()) == {2}


async def test_a_value_whose_instance_is_dead_reaches_another() -> None:
    """The request that finds out is answered, too."""
    async with running() as router:
        living = await router.app(says(ok(b"alive")), HOST, instance="a", options=BY_TENANT)
        await router.register(free_port(), HOST, instance="b", options=BY_TENANT)
        answers = [(await router.get(HOST, X_Tenant=f"t{n}")).body for n in range(12)]

    assert answers == [b"alive"] * 12
    assert len(living.heads) == 12


async def test_a_route_can_ask_for_the_least_busy_instance() -> None:
    """The same two instances take turns on the route that asks for nothing."""
    release, entered = trio.Event(), trio.Event()
    least = RouteOptions(loadbalancing="least-connection")

    async def slow(raw: Raw, head: bytes) -> None:
        if b"/slow" in head:
            entered.set()
            await release.wait()
        await raw.send(ok(b""))

    async with running() as router:
        apps = [await router.app(slow, HOST, options=least) for _ in range(2)]
        for app in apps:
            await router.register(app.port, "plain.apps.localhost")
        async with router.client() as client:
            await client.send(f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            await entered.wait()
            for _ in range(4):
                await router.get(HOST)
            counts = sorted(len(app.heads) for app in apps)
            for _ in range(4):
                await router.get("plain.apps.localhost")
            release.set()
            await client.answer()

    assert counts == [1, 4]
    assert sorted(len(app.heads) for app in apps) == [3, 6]


async def test_the_latest_registration_says_how_a_route_is_spread() -> None:
    """Options can be taken back, and bad ones are told and change nothing but that."""
    async with running() as router:
        for name in ("one", "two"):
            body = ok(name.encode())
            app = await router.app(says(body), HOST, instance=name, options=BY_TENANT)
        await router.register(app.port, HOST, instance="two")
        turns = {(await router.get(HOST, X_Tenant="t")).body for _ in range(4)}
        bad = RouteOptions(loadbalancing="random")
        await router.register(app.port, HOST, instance="two", options=bad)
        after = (await router.get(HOST)).status

    assert turns == {b"one", b"two"}
    assert after == 200
    assert "random" in str(router.told("route.options-refused")[0].data["why"])
