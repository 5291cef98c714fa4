"""The flow of a push, from a folder to an app that answers, in one function: `push`.

What does not depend on each other goes side by side: reading the files and logging in,
looking up matches and creating the app, making the route and staging.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from appliance.commands.address import browsable, router_url
from appliance.commands.api import Api, Json
from appliance.commands.apps import current_droplet, detected
from appliance.commands.deploying import deploy
from appliance.commands.errors import PhaseFailed
from appliance.commands.log import LogReader
from appliance.commands.routing import ensure_route, first_answer, remove_routes
from appliance.commands.screen import Screen
from appliance.commands.staging import skip_old, stage, staging_phases
from appliance.commands.starting import TIMEOUT, started
from appliance.commands.uploading import Source, Uploaded, look_at, match, upload
from appliance.kernel.clock import Ids
from appliance.kernel.trace import current_trace


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asked for; None and empty leave things as they are."""

    name: str
    path: Path = Path()
    instances: int | None = None
    memory: int | None = None  # MB
    disk: int | None = None  # MB
    command: str | None = None  # "default" goes back to the droplet's own
    timeout: int | None = None  # seconds for an instance to become healthy
    health_check: str | None = None  # port, process or http
    endpoint: str | None = None  # of the http check
    buildpack: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    route: bool = True
    random_route: bool = False
    start: bool = True


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """How a push ended well."""

    app: str
    guid: str
    url: str  # "" without a route
    droplet: str
    droplet_sha1: str | None
    detected: str
    uploaded: Uploaded
    phases: Mapping[str, int]  # ms
    sandbox: str | None  # what confined staging
    instances: str  # "1/1"
    status: int | None  # of the first answer through the router
    trace: str

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "app": self.app,
            "guid": self.guid,
            "url": self.url,
            "droplet": self.droplet,
            "droplet_sha1": self.droplet_sha1,
            "detected": self.detected,
            "uploaded": {"files": self.uploaded.files, "bytes": self.uploaded.bytes},
            "matched": self.uploaded.matched,
            "instances": self.instances,
            "status": self.status,
            "phases": dict(self.phases),
            "sandbox": self.sandbox,
            "trace": self.trace,
        }


@dataclass
class Stopwatch:
    """How long each phase took."""

    phases: dict[str, int] = field(default_factory=dict)  # ms
    began: float = field(default_factory=trio.current_time)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block as *name*."""
        start = trio.current_time()
        yield
        self.phases[name] = round((trio.current_time() - start) * 1000)

    def total(self) -> None:
        """Note the time since the beginning."""
        self.phases["total"] = round((trio.current_time() - self.began) * 1000)


async def push(api: Api, wish: Wish, screen: Screen) -> Pushed:
    """Push the app, stage it, start it, and wait until it answers.

    Raises:
      PhaseFailed: a phase failed; a version that ran before still does.
      ApplianceError: the app cannot be read, or the API refused a request.
    """
    trace = Ids().guid()
    current_trace.set(trace)
    watch = Stopwatch()
    with watch.phase("prepare"):
        app, package, source = await _prepare(api, wish)
    guid = app["guid"]
    reader = LogReader(api, guid)
    with watch.phase("upload"):
        async with trio.open_nursery() as nursery:
            if not screen.json:
                nursery.start_soon(skip_old, reader)
            uploaded = await upload(api, package["guid"], source, screen)
    with watch.phase("stage"):
        route, build = await _stage(api, wish, app, package, reader, screen)
    watch.phases |= staging_phases(build)
    droplet_guid = build["droplet"]["guid"]
    droplet: Json = {}

    async def look_at_droplet() -> None:
        droplet.update(await api.get(f"/v3/droplets/{droplet_guid}"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_at_droplet)
        with watch.phase("start"):
            stats = await _start(api, wish, app, droplet_guid, screen)
    router = await router_url(api) if route else ""
    status = None
    if route and stats and router:
        with watch.phase("answer"):
            status = await first_answer(api, router, route)
    watch.total()
    running = sum(one["state"] == "RUNNING" for one in stats)
    return Pushed(
        app=wish.name,
        guid=guid,
        url=browsable(router, route) if route else "",
        droplet=droplet_guid,
        droplet_sha1=(droplet.get("appliance") or {}).get("sha1"),
        detected=detected(droplet),
        uploaded=uploaded,
        phases=watch.phases,
        sandbox=((build.get("appliance") or {}).get("staging") or {}).get("sandbox"),
        instances=f"{running}/{len(stats)}",
        status=status,
        trace=trace,
    )


async def _prepare(api: Api, wish: Wish) -> tuple[Json, Json, Source]:
    """Find or make the app and a package for it; find out which files are missing there."""
    found: Json | None = None

    async def find() -> None:
        nonlocal found
        found = await api.find_app(wish.name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find)
        source = await look_at(wish.path)
    # From here on there are files to push: what cannot be read has not made an app.
    async with trio.open_nursery() as nursery:

        async def find_missing() -> None:
            nonlocal source
            source = await match(api, source)

        nursery.start_soon(find_missing)
        app = await (_new_app(api, wish) if found is None else _changed_app(api, wish, found))
        related = {"app": {"data": {"guid": app["guid"]}}}
        package = await api.post("/v3/packages", {"type": "bits", "relationships": related})
    return app, package, source


async def _new_app(api: Api, wish: Wish) -> Json:
    body: Json = {
        "name": wish.name,
        "relationships": {"space": {"data": {"guid": (await api.place()).space_guid}}},
        "environment_variables": dict(wish.environment),
    }
    made: Json = await api.post("/v3/apps", body | _lifecycle(wish))
    if wish.command:
        # Staging must know it: some apps are nothing but files and a command.
        process = await api.get(f"/v3/apps/{made['guid']}/processes/web")
        await _apply(api, process, {}, change(process, wish))
    return made


async def _changed_app(api: Api, wish: Wish, app: Json) -> Json:
    """*app* with what staging must know of the wish."""
    own = f"/v3/apps/{app['guid']}"
    if wish.environment:
        await api.patch(f"{own}/environment_variables", {"var": dict(wish.environment)})
    if wish.buildpack:
        await api.patch(own, _lifecycle(wish))
    return app


def _lifecycle(wish: Wish) -> Json:
    if not wish.buildpack:
        return {}
    return {"lifecycle": {"type": "buildpack", "data": {"buildpacks": [wish.buildpack]}}}


async def _stage(
    api: Api, wish: Wish, app: Json, package: Json, reader: LogReader, screen: Screen
) -> tuple[str, Json]:
    """Stage the package, and see to the route meanwhile; returns its name and the build."""
    screen.say("Staging app...")
    route = ""
    async with trio.open_nursery() as nursery:

        async def see_to_route() -> None:
            nonlocal route
            if wish.route:
                random = wish.random_route
                route = await ensure_route(api, app["guid"], wish.name, random=random)
            else:
                await remove_routes(api, app["guid"])

        nursery.start_soon(see_to_route)
        build = await stage(api, package["guid"], app["guid"], screen, log_from=reader)
    return route, build


async def _start(api: Api, wish: Wish, app: Json, droplet_guid: str, screen: Screen) -> list[Json]:
    """Start the droplet in the way that suits the app's state; returns its instances' stats."""
    own = f"/v3/apps/{app['guid']}"
    runs = app["state"] == "STARTED"
    process: Json = await api.get(f"{own}/processes/web")
    if runs and wish.start:
        screen.say("Replacing the running version...")
        return await _replace(api, wish, app, process, droplet_guid)
    if runs:
        await api.post(f"{own}/actions/stop")
    await _apply(api, process, scaling(wish) | limits(wish), change(process, wish))
    current = {"data": {"guid": droplet_guid}}
    await api.patch(f"{own}/relationships/current_droplet", current)
    if not wish.start:
        return []
    screen.say("Starting app...")
    await api.post(f"{own}/actions/start")
    return await started(api, app["guid"], process["guid"], timeout=_patience(wish))


async def _replace(api: Api, wish: Wish, app: Json, process: Json, droplet_guid: str) -> list[Json]:
    """Roll from *process* to the droplet. The new process begins with the old one's settings."""
    changed = (limits(wish), change(process, wish))
    await _apply(api, process, *changed)
    try:
        guid = await deploy(api, app["guid"], droplet_guid, process, timeout=_patience(wish))
    except PhaseFailed:
        if any(changed):
            await _restore(api, app, process)
        raise
    new = {"guid": guid}
    await _apply(api, new, scaling(wish), {})
    return await started(
        api, app["guid"], guid, all_of_them=bool(scaling(wish)), timeout=_patience(wish)
    )


async def _restore(api: Api, app: Json, process: Json) -> None:
    """Give *process*, which goes on, what it was started with."""
    droplet = await current_droplet(api, app["guid"])
    own = (droplet or {}).get("process_types", {}).get(process["type"])
    # The API shows the droplet's command where there is none; it must not become fixed.
    command = None if process["command"] == own else process["command"]
    before = {name: process[name] for name in ("memory_in_mb", "disk_in_mb")}
    health = {"health_check": process["health_check"]}
    await _apply(api, process, before, health | {"command": command})


def scaling(wish: Wish) -> Json:
    """What the wish says of the number of instances."""
    return {} if wish.instances is None else {"instances": wish.instances}


def limits(wish: Wish) -> Json:
    """What the wish says of one instance's size."""
    sizes = {"memory_in_mb": wish.memory, "disk_in_mb": wish.disk}
    return {name: value for name, value in sizes.items() if value is not None}


def change(process: Json, wish: Wish) -> Json:
    """What the wish says of how instances are started and watched, as a PATCH of *process*."""
    wanted: Json = {}
    if wish.command is not None:
        wanted["command"] = None if wish.command in ("default", "null") else wish.command
    if wish.health_check or wish.timeout or wish.endpoint:
        had = process["health_check"]
        data = dict(had.get("data") or {})
        data |= {"timeout": wish.timeout} if wish.timeout else {}
        data |= {"endpoint": wish.endpoint} if wish.endpoint else {}
        kind = wish.health_check or ("http" if wish.endpoint else had["type"])
        wanted["health_check"] = {"type": kind, "data": data}
    return wanted


async def _apply(api: Api, process: Json, scale: Json, patch: Json) -> None:
    own = f"/v3/processes/{process['guid']}"
    if scale:
        await api.post(f"{own}/actions/scale", scale)
    if patch:
        await api.patch(own, patch)


def _patience(wish: Wish) -> float:
    """Seconds to wait for an instance: the app's own time-out ends a start that hangs."""
    return max(TIMEOUT, 2.0 * (wish.timeout or 0))
