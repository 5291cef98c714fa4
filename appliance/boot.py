"""Starts the rooms. The only module, besides the commands, that knows all of them.

Sockets are bound first, so that clients wait instead of being refused; then the rooms
start back to front, so that the door, the controller, opens last. They stop in the order of
`rooms.STOPPING`: what is on its way through them gets to its end, and nothing new begins.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from appliance import __version__
from appliance.binding import Bound, anywhere, bind_sockets, names
from appliance.config import Config
from appliance.endpoints import Endpoints
from appliance.kernel.bus import Bus
from appliance.kernel.clock import Clock, Ids
from appliance.kernel.health import Health
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import open_spawner
from appliance.kernel.redact import redact_data
from appliance.kernel.trace import Sink, Trace, TraceLog
from appliance.kernel.watchdog import watch_loop
from appliance.rooms import Rooms

if TYPE_CHECKING:
    from appliance.kernel.bus.listener.hub import Hub


__all__ = ["Bound", "Running", "anywhere", "bind_sockets", "running"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """An appliance that runs in this process."""

    config: Config
    endpoints: Endpoints
    kit: Kit
    trace_log: TraceLog

    @property
    def health(self) -> Health:
        """The state of each room."""
        return self.kit.health


@asynccontextmanager
async def running(
    config: Config | None = None,
    *,
    bound: Bound | None = None,
    sinks: Sequence[Sink] = (),
    confined: bool = False,
    supervised: bool = False,
) -> AsyncIterator[Running]:
    """A whole appliance while the block runs; nothing is left of it afterwards.

    Without a *config* every port is one that the operating system picks. *confined* says that
    this process is in a PID namespace of its own. *supervised* starts a room again that has
    failed, and goes on with the others; else a bug in a room ends the block, and is raised.
    """
    config = config or anywhere(Config())
    if config.state is not None:
        config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    bound = bound or bind_sockets(config)
    async with AsyncExitStack() as stack:
        if bound.state:
            stack.callback(bound.state.close)
        trace_log = TraceLog(config.trace_events)
        spawner = await stack.enter_async_context(
            open_spawner(config.sandbox, ledger=bound.state, confined=confined)
        )
        trace = Trace("boot", [trace_log, *sinks])
        ids = Ids()
        bus = await stack.enter_async_context(_open_bus(config.bus, trace.named("bus")))
        hub = await stack.enter_async_context(_open_listener(config, bound, bus, trace, ids))
        client = Client()
        stack.push_async_callback(client.aclose)
        kit = Kit(
            room="boot",
            bus=bus,
            http=client,
            spawner=spawner,
            trace=trace,
            clock=Clock(),
            ids=ids,
            hosts=names(config),
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        if hub is not None and "nats_monitor" in bound.binds:
            from appliance.kernel.bus.listener.monitor import serve_monitor

            await nursery.start(serve_monitor, hub, bound.binds["nats_monitor"], kit)
        rooms = Rooms(kit, nursery, supervised=supervised)
        endpoints = await _start_rooms(config, bound, rooms, trace_log)
        try:
            async with watch_loop(trace, kit.clock):
                yield Running(config=config, endpoints=endpoints, kit=kit, trace_log=trace_log)
        finally:
            await rooms.stop()
            kit.stopping.set()


@asynccontextmanager
async def _open_bus(where: str, trace: Trace) -> AsyncIterator[Bus]:
    if where == "local":
        from appliance.kernel.bus.local import LocalBus

        local = LocalBus()
        try:
            yield local
        finally:
            await local.aclose()
    else:
        from appliance.kernel.bus.nats import open_nats_bus

        def report(what: str, why: str) -> None:
            trace.event(what, why=why)

        async with open_nats_bus(where.split(","), report=report) as bus:
            yield bus


@asynccontextmanager
async def _open_listener(
    config: Config, bound: Bound, bus: Bus, trace: Trace, ids: Ids
) -> AsyncIterator[Hub | None]:
    """Let NATS clients take part in a local *bus*, until the last room has ended."""
    if "nats" not in bound.binds:
        yield None
        return
    from appliance.kernel.bus.listener.options import Options
    from appliance.kernel.bus.listener.server import open_listener
    from appliance.kernel.bus.local import LocalBus

    assert isinstance(bus, LocalBus)
    options = Options(**{f.name: getattr(config.nats, f.name) for f in fields(Options)})
    report = trace.named("nats").event
    async with open_listener(bus, bound.binds["nats"], options, ids=ids, report=report) as listener:
        yield listener.hub


async def _start_rooms(
    config: Config, bound: Bound, rooms: Rooms, trace_log: TraceLog
) -> Endpoints:
    from appliance.archiver.service import serve as serve_archiver
    from appliance.dea.service import serve as serve_dea
    from appliance.health_manager.service import serve as serve_health_manager
    from appliance.logs.service import serve as serve_logs
    from appliance.package_cache.service import serve as serve_package_cache
    from appliance.registry.service import serve as serve_registry
    from appliance.router.service import serve as serve_router
    from appliance.stager.service import serve as serve_stager
    from fake_controller.service import serve as serve_controller

    kit, start = rooms.kit, rooms.start
    urls, binds = bound.urls, bound.binds
    user, password = config.archiver.user, config.archiver.password or kit.ids.hex(32)
    archivers = tuple(
        _with_login(urls[f"archiver.{number}"], user, password)
        for number in range(config.archivers)
    )
    registry_secret = config.controller.registry_password or kit.ids.hex(32)

    def root(room: str) -> Path | None:
        if config.state is None:
            return None
        folder = config.state / room
        # Whatever the umask: there are keys in it, and other people's programs and data.
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    await start("logs", serve_logs, config.logs)
    for number in range(config.archivers):
        settings = replace(
            config.archiver,
            bind=binds[f"archiver.{number}"],
            root=root(f"archiver-{number}"),
            password=password,
            peers=archivers[:number] + archivers[number + 1 :],
        )
        await start(f"archiver-{number}", serve_archiver, settings)
    package_cache = replace(
        config.package_cache, bind=binds["package_cache"], root=root("package_cache")
    )
    await start("package_cache", serve_package_cache, package_cache)
    stager = replace(config.stager, package_cache=urls["package_cache"], root=root("stager"))
    for number in range(config.stagers):
        await start(_numbered("stager", number, config.stagers), serve_stager, stager)
    for number in range(config.deas):
        name = _numbered("dea", number, config.deas)
        await start(
            name, serve_dea, replace(config.dea, bind=binds[f"dea.{number}"], root=root(name))
        )
    await start("router", serve_router, replace(config.router, bind=binds["router"]))
    registry = replace(
        config.registry,
        bind=binds["registry"],
        root=root("registry"),
        controller=urls["controller"],
        client_secret=registry_secret,
    )
    await start("registry", serve_registry, registry)
    endpoints = _endpoints(config, bound, kit)
    controller = replace(
        config.controller,
        bind=binds["controller"],
        root=root("controller"),
        archivers=archivers,
        app_port=int(urls["router"].rpartition(":")[2]),
        registry_password=registry_secret,
    )

    def about() -> dict[str, Any]:
        return {
            "version": __version__,
            # Whoever asks has a login of their own; the admin's is none of their business.
            "endpoints": redact_data(endpoints.as_dict()),
            "rooms": kit.health.report(),
            "sandbox": {
                "kind": kit.spawner.sandbox.kind,
                "isolated": kit.spawner.sandbox.isolated,
                "reason": kit.spawner.sandbox.reason,
            },
            "state": endpoints.state,
        }

    await start("controller", serve_controller, controller, trace_log=trace_log, about=about)
    health_manager = replace(config.health_manager, controller=urls["controller"])
    await start("health_manager", serve_health_manager, health_manager)
    kit.trace.event("appliance.ready", api=endpoints.api)
    return endpoints


def _endpoints(config: Config, bound: Bound, kit: Kit) -> Endpoints:
    urls = bound.urls
    sandbox = kit.spawner.sandbox
    return Endpoints(
        api=urls["controller"],
        apps=urls["router"],
        registry=urls["registry"],
        package_cache=urls["package_cache"],
        archivers=[urls[f"archiver.{number}"] for number in range(config.archivers)],
        files=urls["dea.0"],
        nats=_nats(config, bound),
        nats_monitor=urls.get("nats_monitor", ""),
        user=config.controller.user,
        password=config.controller.password,
        state=str(config.state) if config.state else "",
        sandbox=sandbox.kind if sandbox.isolated else f"NOT ISOLATED: {sandbox.reason}",
        pid=os.getpid(),
        version=__version__,
    )


def _nats(config: Config, bound: Bound) -> str:
    """Where NATS clients find the bus, with the login that they need."""
    if config.bus != "local":
        return config.bus
    url = bound.urls.get("nats", "").replace("http://", "nats://")
    if not url or not (config.nats.user or config.nats.token):
        return url
    if config.nats.user:
        return _with_login(url, config.nats.user, config.nats.password)
    return url.replace("://", f"://{config.nats.token}@", 1)


def _numbered(room: str, number: int, count: int) -> str:
    return room if count == 1 else f"{room}-{number}"


def _with_login(url: str, user: str, password: str) -> str:
    return url.replace("://", f"://{user}:{password}@", 1)
