"""Rooms that run by themselves and find each other by the bus, addresses and shared secrets."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from appliance.binding import anywhere
from appliance.boot import Running, running
from appliance.config import ROOMS, Config
from tests.nats_server import NatsServer
from tests.person import Person, hello

from .conftest import Desk

SECRET, REGISTRY_SECRET = "shared-by-archivers", "shared-by-the-registry"


def role(bus: str, *rooms: str, url: str = "", **settings: dict[str, Any]) -> Config:
    """The settings of a process with *rooms*, on free ports."""
    config = anywhere(Config(bus=bus, only=rooms, controller_url=url, archivers=1))
    changed = {room: replace(getattr(config, room), **given) for room, given in settings.items()}
    return replace(config, **changed)


async def test_each_room_runs_alone(nats_server: NatsServer, tmp_path: Path) -> None:
    """Each is an appliance of its own, and together they are one Cloud Foundry."""
    bus, roles = nats_server.url, {}
    async with AsyncExitStack() as stack:

        async def start(config: Config) -> Running:
            made = await stack.enter_async_context(running(config))
            roles[config.only[0]] = made
            return made

        await start(role(bus, "logs"))
        await start(role(bus, "ssh"))
        archiver = await start(role(bus, "archiver", archiver={"password": SECRET}))
        cache = await start(role(bus, "package_cache"))
        await start(role(bus, "stager", stager={"package_cache": cache.endpoints.package_cache}))
        await start(role(bus, "dea"))
        router = await start(role(bus, "router"))
        config = role(
            bus, "controller", archiver={"password": SECRET},
            controller={
                "archivers": tuple(archiver.endpoints.archivers),
                "registry_password": REGISTRY_SECRET,
            },
        )  # fmt: skip
        controller = await start(replace(config, router_url=router.endpoints.apps))
        url = controller.endpoints.api
        registry = await start(
            role(bus, "registry", url=url, registry={"client_secret": REGISTRY_SECRET})
        )
        await start(role(bus, "health_manager", url=url))
        assert set(roles) == set(ROOMS)
        assert controller.endpoints.apps == router.endpoints.apps

        person = Person(url, controller.kit.http)
        await person.login()
        await person.push("hello", tmp_path)
        desk = Desk(router, str(tmp_path))
        with trio.fail_after(10):
            while (answer := await desk.get("hello.apps.localhost")).status != 200:
                await trio.lowlevel.checkpoint()
        assert b"Hello" in answer.body
        manifest = await person.http.request(
            "GET", f"{registry.endpoints.registry}/v2/hello/manifests/latest",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )  # fmt: skip
        assert manifest.status == 200, manifest.body


async def test_archivers_may_announce_themselves(nats_server: NatsServer, tmp_path: Path) -> None:
    """They are told no addresses: what is stored in one is copied to one that comes later."""
    bus, archiver = nats_server.url, {"password": SECRET, "announced": True}
    async with AsyncExitStack() as stack:

        async def start(*rooms: str) -> Running:
            config = role(bus, *rooms, archiver=archiver)
            return await stack.enter_async_context(running(config))

        nodes = [await start("archiver")]
        controller = await start("controller", "stager")
        person = Person(controller.endpoints.api, controller.kit.http)
        await person.login()
        app = await person.app("hello")
        build = await person.stage(await person.upload(app, tmp_path, hello()))
        assert build["state"] == "STAGED"
        nodes.append(await start("archiver"))

        async def holdings(node: Running) -> list[Any]:
            url = node.endpoints.archivers[0].replace("://", f"://archiver:{SECRET}@")
            answer = await person.http.request("GET", f"{url}/droplets")
            droplets: list[Any] = answer.json()["droplets"]
            return sorted(one["sha1"] for one in droplets)

        (stored,) = await holdings(nodes[0])
        with trio.fail_after(15):
            while await holdings(nodes[1]) != [stored]:
                await trio.lowlevel.checkpoint()
        # And the other way round: each has learnt of the other, and so has the controller.
        await nodes[0].kit.http.request(
            "DELETE",
            nodes[0].endpoints.archivers[0].replace("://", f"://archiver:{SECRET}@")
            + f"/droplets/{app}/{stored}",
        )
        with trio.fail_after(15):
            while await holdings(nodes[1]):
                await trio.lowlevel.checkpoint()
        joined = [one.trace_log.latest("archiver.joined") for one in (*nodes, controller)]
        assert all(joined), joined


async def test_a_second_dea_joins_by_the_appliances_own_bus(tmp_path: Path) -> None:
    """No NATS server is needed for it: the listener is one."""
    async with running() as first, running(role(first.endpoints.nats, "dea")) as second:
        person = Person(first.endpoints.api, first.kit.http)
        await person.login()
        app = await person.push("hello", tmp_path)
        await person.call("POST", f"/v3/apps/{app}/processes/web/actions/scale", {"instances": 4})
        with trio.fail_after(20):
            while await person.states(app) != ["RUNNING"] * 4:
                await trio.lowlevel.checkpoint()
        assert second.endpoints.only == ["dea"]
        apps = [one.trace_log.latest("instance.accepted") for one in (first, second)]
        assert all(apps), apps
