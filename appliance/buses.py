"""The bus that the settings name: in this process and open to NATS clients, or on NATS servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import TYPE_CHECKING

from appliance.binding import Bound
from appliance.config import Config
from appliance.kernel.bus import Bus
from appliance.kernel.bus.login import NatsLogin
from appliance.kernel.clock import Ids
from appliance.kernel.health import Health
from appliance.kernel.trace import Trace
from appliance.roles import with_login

if TYPE_CHECKING:
    from appliance.kernel.bus.listener.hub import Hub


@asynccontextmanager
async def open_bus(config: Config, trace: Trace, health: Health) -> AsyncIterator[Bus]:
    """The bus between the rooms, open until the last of them has ended.

    Servers that are out of reach are told to *health*, too: without them no room is of use.
    """
    if config.bus == "local":
        from appliance.kernel.bus.local import LocalBus

        local = LocalBus()
        try:
            yield local
        finally:
            await local.aclose()
    else:
        from appliance.kernel.bus.nats import open_nats_bus
        from appliance.kernel.bus.servers import servers

        def report(what: str, why: str) -> None:
            trace.event(what, why=why)
            connected = what == "bus.reconnected"
            health.mark("bus", "ready" if connected else "unhealthy", "" if connected else why)

        login = nats_login(config)
        login.check()
        async with open_nats_bus(servers(config.bus), login=login, report=report) as bus:
            health.mark("bus", "ready")
            yield bus


@asynccontextmanager
async def open_listener(
    config: Config, bound: Bound, bus: Bus, trace: Trace, ids: Ids
) -> AsyncIterator[Hub | None]:
    """Let NATS clients take part in a local *bus*, until the last room has ended."""
    if "nats" not in bound.binds:
        yield None
        return
    from appliance.kernel.bus.listener.options import Options
    from appliance.kernel.bus.listener.secure import server_context
    from appliance.kernel.bus.listener.server import open_listener as open_
    from appliance.kernel.bus.local import LocalBus

    assert isinstance(bus, LocalBus)
    settings = config.nats
    options = Options(**{f.name: getattr(settings, f.name) for f in fields(Options)})
    report = trace.named("nats").event
    tls = None
    if settings.tls_cert:
        tls = server_context(settings.tls_cert, settings.tls_key, settings.tls_ca)
    bind = bound.binds["nats"]
    async with open_(bus, bind, options, ids=ids, report=report, tls=tls) as listener:
        yield listener.hub


def nats_login(config: Config) -> NatsLogin:
    """How to log in to the NATS servers of *config*."""
    known = config.nats_client
    return NatsLogin(**{f.name: getattr(known, f.name) for f in fields(NatsLogin)})


def address(config: Config, bound: Bound) -> str:
    """Where NATS clients find the bus, with the login that they need."""
    if config.bus != "local":
        return config.bus
    scheme = "tls" if config.nats.tls_cert else "nats"
    url = bound.urls.get("nats", "").replace("http://", f"{scheme}://")
    if not url or not (config.nats.user or config.nats.token):
        return url
    if config.nats.user:
        return with_login(url, config.nats.user, config.nats.password)
    return url.replace("://", f"://{config.nats.token}@", 1)
