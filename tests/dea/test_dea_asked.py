"""What a DEA answers when it is asked, and what it does with orders that change nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
from msgspec import structs

from appliance.dea.messages import (
    Discover,
    DropletStatus,
    FindDroplet,
    FoundInstance,
    Hello,
    Limits,
    Locate,
    Stats,
    Status,
    StatusReply,
    Stop,
    Update,
)
from appliance.health_manager.messages import HealthManagerStart
from appliance.kernel.bus import RequestTimeout
from appliance.kernel.component import Announce, DiscoverComponents
from appliance.router.messages import RouteOptions, RouterStart, Routing

NO_ROUTE: dict[str, Any] = {"uris": [], "port_wanted": False}
SLEEPS = "import time; time.sleep(600)"


def is_running(body: dict[str, Any]) -> bool:
    """Whether a heartbeat tells of one instance that runs."""
    return [droplet["state"] for droplet in body["droplets"]] == ["RUNNING"]


async def test_offers_itself_while_there_is_room(world: Any, app: Any) -> None:
    """A DEA that is full is silent, and so is one without the runtime."""
    kit = world.kit
    small, large = Limits(mem=128), Limits(mem=4096)
    hello = await kit.request(Discover(droplet="d1", limits=small), Hello, timeout=2)
    assert (hello.id, hello.ip) == (world.dea, "127.0.0.1")
    assert world.files.endswith(f":{hello.port}")
    for silent in (
        Discover(droplet="d1", limits=large),
        Discover(droplet="d1", limits=small, runtime_info={"name": "cobol"}),
        Discover(droplet="d1", limits=small, prod=True),
    ):
        with pytest.raises(RequestTimeout):
            await kit.request(silent, Hello, timeout=0.1)
    world.start(world.order(app(SLEEPS), limits=Limits(mem=448), **NO_ROUTE))
    await world.wait_for("dea.heartbeat")
    with pytest.raises(RequestTimeout):
        await kit.request(Discover(droplet="d2", limits=small), Hello, timeout=0.3)


async def test_a_start_that_does_not_fit_is_refused_aloud(world: Any, app: Any) -> None:
    """Nobody has to wait for an instance that will never come."""
    world.start(world.order(app(SLEEPS), limits=Limits(mem=513), instance_guid="big"))
    gone = await world.exited()
    assert (gone["instance"], gone["reason"]) == ("big", "CRASHED")
    assert gone["exit_description"] == "insufficient resources"


async def test_memory_is_reserved_at_once_and_advertised(world: Any, app: Any) -> None:
    """A full DEA does not advertise at all."""
    world.gate = trio.Event()
    droplet = app(SLEEPS)
    world.start(world.order(droplet, limits=Limits(mem=500), **NO_ROUTE))
    await world.wait_for("dea.advertise", lambda body: body["available_memory"] == 12)
    status = await world.kit.request(Status(), StatusReply, timeout=2)
    assert (status.max_memory, status.reserved_memory, status.num_clients) == (512, 500, 1)
    world.start(world.order(droplet, index=1, limits=Limits(mem=12), **NO_ROUTE))
    await world.wait_for("dea.heartbeat", count=2)
    world.heard.clear()
    world.kit.publish(Locate())
    await world.kit.request(Status(), StatusReply, timeout=2)
    assert "dea.advertise" not in world.subjects()


async def test_repeating_an_order_starts_nothing(world: Any, app: Any) -> None:
    """The same instance twice is one instance."""
    order = world.order(app(SLEEPS), instance_guid="once", **NO_ROUTE)
    world.start(order)
    world.start(order)
    await world.wait_for("dea.heartbeat", is_running)
    status = await world.kit.request(Status(), StatusReply, timeout=2)
    assert status.num_clients == 1


async def test_an_instance_tells_in_its_log_what_it_uses(world: Any, web: Any) -> None:
    """When it begins to run, by Cloud Foundry's names and units."""
    world.start(world.order(web))
    told = await world.wait_for("logs.lines.app-1", lambda body: body.get("gauges"))
    (gauge,) = told["gauges"]
    metrics = {name: metric["unit"] for name, metric in gauge["metrics"].items()}
    assert metrics.items() >= {"cpu": "percentage", "memory": "bytes", "disk": "bytes"}.items()
    assert gauge["metrics"]["memory"]["value"] > 0
    assert gauge["metrics"]["memory_quota"]["value"] == 128 * 1024 * 1024
    assert (gauge["source_type"], gauge["instance"]) == ("APP/PROC/WEB", "0")


async def test_finds_instances_with_their_figures(make_world: Any, web: Any) -> None:
    """State, folder, credentials, and what it uses when asked for."""
    async with make_world(monitor=0.05) as world:
        world.start(world.order(web, instance_guid="i1"))
        route = await world.running()
        question = FindDroplet(droplet="d1", include_stats=True)
        with trio.fail_after(5):
            while True:
                found = await world.kit.request(question, FoundInstance, timeout=2)
                if found.stats and found.stats.usage and found.stats.usage.disk:
                    break
        assert (found.instance, found.state, found.index) == ("i1", "RUNNING", 0)
        assert found.file_uri == f"{world.files}/droplets/"
        assert found.staged == "hello-0-i1"
        assert found.stats.port == route["port"]
        assert found.stats.mem_quota == 128 * 1024 * 1024
        assert found.stats.usage.mem > 1000
        stats = await world.kit.request(DropletStatus(), Stats, timeout=2)
        assert (stats.name, stats.uris) == ("hello", ["hello.apps.localhost"])


@pytest.mark.parametrize(
    "other",
    [
        {"droplet": "d2"},
        {"version": "other"},
        {"instances": ["i2"]},
        {"instance_ids": ["i2"]},
        {"instances": []},
        {"indices": [1]},
        {"states": ["CRASHED"]},
    ],
)
async def test_only_what_matches_is_found_and_stopped(
    world: Any, app: Any, other: dict[str, Any]
) -> None:
    """Everything that a question names must fit, by the old and by the new name."""
    order = world.order(app(SLEEPS), instance_guid="i1", **NO_ROUTE)
    world.start(order)
    await world.wait_for("dea.heartbeat", is_running)
    world.kit.publish(Stop(**{"droplet": "d1"} | other))
    with pytest.raises(RequestTimeout):
        await world.kit.request(
            FindDroplet(**{"droplet": "d1"} | other), FoundInstance, timeout=0.05
        )
    right = {"version": order.version, "instance_ids": ["i1"], "indices": [0]}
    question = FindDroplet(droplet="d1", states=["RUNNING"], **right)
    found = await world.kit.request(question, FoundInstance, timeout=2)
    assert found.state == "RUNNING"
    world.kit.publish(Stop(droplet="d1", **right))
    assert (await world.exited())["reason"] == "STOPPED"


async def test_new_uris_are_registered_and_old_ones_unregistered(world: Any, web: Any) -> None:
    """Only the difference is told; when there is none, nothing is."""
    world.start(world.order(web, uris=["a.localhost", "b.localhost"]))
    await world.running()
    world.kit.publish(Update(droplet="d1", uris=["b.localhost", "c.localhost"]))
    assert (await world.running(2))["uris"] == ["c.localhost"]
    assert (await world.wait_for("router.unregister"))["uris"] == ["a.localhost"]
    world.heard.clear()
    world.kit.publish(Update(droplet="d1", uris=["c.localhost", "b.localhost"]))
    await world.kit.request(Status(), StatusReply, timeout=2)  # after the update
    world.kit.publish(RouterStart(id="r"))
    assert (await world.running())["uris"] == ["c.localhost", "b.localhost"]
    assert "router.unregister" not in world.subjects()


async def test_a_route_is_registered_with_what_it_asks_for(world: Any, web: Any) -> None:
    """Routes that ask for the same share a registration; one that changes is told again."""
    guard = "https://guard.localhost"
    balance = RouteOptions(loadbalancing="least-connection")
    least = Routing(options=balance, route_service_url=guard)
    uris = ["a.localhost", "b.localhost", "c.localhost"]
    asked = {"b.localhost": least}
    world.start(world.order(web, uris=uris, routing=asked))
    await world.running(2)
    first = {tuple(body["uris"]): body for body in world.registrations()}
    world.heard.clear()
    world.kit.publish(Update(droplet="d1", uris=uris, routing=asked | {"c.localhost": least}))
    await world.running()
    await world.kit.request(Status(), StatusReply, timeout=2)

    assert first.keys() == {("a.localhost", "c.localhost"), ("b.localhost",)}
    assert first["b.localhost",]["options"]["loadbalancing"] == "least-connection"
    assert first["b.localhost",]["route_service_url"] == guard
    assert [body["uris"] for body in world.registrations()] == [["c.localhost"]]


async def test_late_comers_are_told_at_once(world: Any, web: Any) -> None:
    """A router gets the routes, a health manager the states, who locates an advertisement."""
    world.start(world.order(web))
    await world.running()
    world.heard.clear()
    world.kit.publish(RouterStart(id="r"))
    world.kit.publish(HealthManagerStart())
    world.kit.publish(Locate())
    await world.running()
    await world.wait_for("dea.heartbeat", is_running)
    await world.wait_for("dea.advertise")


async def test_routes_and_heartbeats_are_repeated(make_world: Any, web: Any) -> None:
    """Both go stale when they are not."""
    async with make_world(heartbeat=0.05, register=0.05, advertise=0.05) as world:
        world.start(world.order(web))
        await world.running(3)
        await world.wait_for("dea.heartbeat", is_running, count=3)
        await world.wait_for("dea.advertise", count=3)


async def test_a_crash_is_found_until_it_is_stopped(world: Any, app: Any) -> None:
    """Its files can be looked at meanwhile; only the newest crash of an index is kept."""
    order = world.order(app("print(1/0)"))
    for number, name in enumerate(("c1", "c2"), start=1):
        world.start(structs.replace(order, instance_guid=name))
        await world.exited(number)
    question = FindDroplet(droplet="d1", states=["CRASHED"])
    found = await world.kit.request(question, FoundInstance, timeout=2)
    assert (found.instance, found.exit_description) == (
        "c2",
        "APP/PROC/WEB: Exited with status 1",
    )
    url = f"{world.files.replace('//', '//{}:{}@'.format(*found.credentials))}/droplets"
    log = await world.kit.http.request("GET", f"{url}/{found.staged}/logs/stderr.log")
    assert "ZeroDivisionError" in log.text
    world.kit.publish(Stop(droplet="d1"))
    with pytest.raises(RequestTimeout):
        await world.kit.request(question, FoundInstance, timeout=0.1)


async def test_old_crashes_are_reaped(make_world: Any, app: Any) -> None:
    """Their folders would fill the disk."""
    async with make_world(crash_lifetime=0.1) as world:
        world.start(world.order(app("raise SystemExit(1)")))
        await world.exited()
        question = FindDroplet(droplet="d1")
        found: FoundInstance | None = None
        with trio.fail_after(5), suppress(RequestTimeout):
            while True:
                found = await world.kit.request(question, FoundInstance, timeout=0.1)
        assert found is None or found.state == "CRASHED"


async def test_is_a_component(world: Any, web: Any) -> None:
    """It is discovered, and its /varz has the figures of a DEA."""
    world.start(world.order(web))
    await world.running()
    found = await world.kit.request(DiscoverComponents(), Announce, timeout=2)
    assert found.type == "DEA"
    user, password = found.credentials
    answer = await world.kit.http.request("GET", f"http://{user}:{password}@{found.host}/varz")
    told = answer.json()
    assert (told["num_apps"], told["apps_reserved_memory"]) == (1, 128)
    assert "python3" in told["runtimes"]
