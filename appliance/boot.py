"""Starts the rooms. The only module, besides the commands, that knows all of them.

Sockets are bound first, so that clients wait instead of being refused; then the rooms
start back to front, so that the door, the controller, opens last. They stop in the order of
`rooms.STOPPING`: what is on its way through them gets to its end, and nothing new begins.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from appliance import __version__
from appliance.binding import Bound, anywhere, bind_sockets, names
from appliance.buses import address, open_bus, open_listener
from appliance.config import Config
from appliance.endpoints import Endpoints
from appliance.kernel.clock import Clock, Ids
from appliance.kernel.health import Health
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import open_spawner
from appliance.kernel.redact import redact_data
from appliance.kernel.trace import Sink, Trace, TraceLog
from appliance.kernel.watchdog import watch_loop
from appliance.roles import Secrets, controller_url, plan, router_url
from appliance.rooms import Rooms
from appliance.supervisor import Serve

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
        ids, health = Ids(), Health()
        bus = await stack.enter_async_context(open_bus(config, trace.named("bus"), health))
        hub = await stack.enter_async_context(open_listener(config, bound, bus, trace, ids))
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
            health=health,
            hosts=names(config),
            status_login=(config.status_user, config.status_password),
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


async def _start_rooms(
    config: Config, bound: Bound, rooms: Rooms, trace_log: TraceLog
) -> Endpoints:
    kit = rooms.kit
    endpoints = _endpoints(config, bound, kit)
    more = {"controller": {"trace_log": trace_log, "about": partial(_about, endpoints, kit)}}
    for name, room, settings in plan(config, bound.binds, bound.urls, _secrets(config, kit.ids)):
        folder = getattr(settings, "root", None)
        if folder is not None:
            # Whatever the umask: there are keys in it, and other people's programs and data.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await rooms.start(name, _serve(room), settings, **more.get(room, {}))
    kit.trace.event("appliance.ready", api=endpoints.api)
    return endpoints


def _secrets(config: Config, ids: Ids) -> Secrets:
    """What rooms share, made up where nobody has set it."""
    registry = config.registry.client_secret or config.controller.registry_password
    return Secrets(
        archiver=config.archiver.password or ids.hex(32), registry=registry or ids.hex(32)
    )


def _about(endpoints: Endpoints, kit: Kit) -> dict[str, Any]:
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


def _endpoints(config: Config, bound: Bound, kit: Kit) -> Endpoints:
    urls = bound.urls
    sandbox = kit.spawner.sandbox
    return Endpoints(
        api=controller_url(config, urls),
        apps=router_url(config, urls),
        registry=urls.get("registry", ""),
        package_cache=urls.get("package_cache", ""),
        archivers=[url for name, url in urls.items() if name.startswith("archiver.")],
        files=urls.get("dea.0", ""),
        ssh=urls.get("ssh", "").replace("http://", "ssh://"),
        nats=address(config, bound),
        nats_monitor=urls.get("nats_monitor", ""),
        user=config.controller.user if config.runs("controller") else "",
        password=config.controller.password if config.runs("controller") else "",
        state=str(config.state) if config.state else "",
        sandbox=sandbox.kind if sandbox.isolated else f"NOT ISOLATED: {sandbox.reason}",
        pid=os.getpid(),
        version=__version__,
        only=list(config.only),
    )


def _serve(room: str) -> Serve:
    # A process that runs a few rooms does not load the others.
    package = "fake_controller" if room == "controller" else f"appliance.{room}"
    serve: Serve = importlib.import_module(f"{package}.service").serve
    return serve
