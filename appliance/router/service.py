"""The router as a room: listens for clients, and on the bus for who answers for which host."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from functools import partial

import trio

from appliance.config import RouterConfig
from appliance.kernel.bus import Subscription
from appliance.kernel.component import serve_component
from appliance.kernel.errors import ConfigError
from appliance.kernel.http.sockets import PortTaken, listen, url
from appliance.kernel.kit import Kit
from appliance.router.balance import BadOptions, spread_of
from appliance.router.endpoint import Endpoint
from appliance.router.messages import RouterGreet, RouterRegister, RouterStart, RouterUnregister
from appliance.router.proxy import Proxy
from appliance.router.route_service import BadService, service_of
from appliance.router.session import serve_client

SUBJECTS = "router.*"  # one subscription, so that messages stay in the order they were sent
REGISTER_EVERY = 20  # seconds; what DEAs are asked to keep to
GRACE_SECONDS = 5.0  # for requests in flight when the router stops
#: Those of `varz` that only grow.
COUNTERS = ("requests", "bad_requests", "bad_gateways", "responses_xxx",
            *(f"responses_{number}xx" for number in range(2, 6)))  # fmt: skip
NO_FILES_SECONDS = 0.1  # before the next try when there is no descriptor left


async def serve(
    config: RouterConfig,
    kit: Kit,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Route until `kit.stopping`; ``started()`` gets the base URL for clients."""
    sockets = listening(config.bind)
    proxy = Proxy(config, kit)
    start = RouterStart(
        id=kit.ids.hex(32),
        hosts=["127.0.0.1"],
        minimumRegisterIntervalInSeconds=REGISTER_EVERY,
        prunteThresholdInSeconds=int(config.stale_after),
    )
    try:
        async with (
            kit.bus.subscribe(SUBJECTS) as heard,
            trio.open_nursery() as background,
        ):
            background.start_soon(_hear, heard, proxy, start)
            background.start_soon(_prune, proxy)
            background.start_soon(_ask_again, kit, start)
            background.start_soon(proxy.watch.run)
            background.start_soon(proxy.access.run)
            await background.start(partial(_status, config, kit, proxy))
            async with accepting(sockets, proxy):
                kit.publish(start)
                kit.health.mark(kit.room, "ready")
                kit.trace.event("router.listening", url=url(sockets[0]))
                task_status.started(url(sockets[0]))
                await kit.stopping.wait()
            background.cancel_scope.cancel()
    finally:
        proxy.pool.close()
        for opened in sockets:
            opened.close()


def listening(bind: str) -> list[socket.socket]:
    """Listening sockets for *bind*: ``HOST:PORT``, or ``fd://N[,fd://M]``.

    With 127.0.0.1 the same port of ::1 is taken too where it is free, since resolvers
    that know ``*.localhost`` answer with ::1 first.

    Raises:
      PortTaken, ConfigError: as `sockets.listen`.
    """
    if bind.startswith("fd://"):
        return [opened for each in bind.split(",") for opened in listen(each.strip())]
    opened = listen(bind)
    host, port = opened[0].getsockname()[:2]
    if host == "127.0.0.1" and len(opened) == 1 and socket.has_ipv6:
        # Somebody else's, or a machine without IPv6: then 127.0.0.1 is enough.
        with suppress(PortTaken, ConfigError):
            opened += listen(f"[::1]:{port}")
    return opened


@asynccontextmanager
async def accepting(sockets: list[socket.socket], proxy: Proxy) -> AsyncIterator[None]:
    """Serve clients while the context is open; then let those in flight finish."""
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as listeners:
            for opened in sockets:
                listeners.start_soon(_accept, opened, proxy, connections)
            try:
                yield
            finally:
                listeners.cancel_scope.cancel()
        for opened in sockets:
            opened.close()
        proxy.drain()
        connections.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS


async def _accept(opened: socket.socket, proxy: Proxy, connections: trio.Nursery) -> None:
    # One cap for all servers of the process; loaded late, as Hypercorn comes with it.
    from appliance.kernel.http.server import slots

    opened.setblocking(False)

    async def served(sock: socket.socket, client: str) -> None:
        try:
            await serve_client(proxy, sock, client)
        finally:
            slots().release()

    while True:
        await slots().acquire()
        try:
            sock, client = await _next(opened)
        except BaseException:
            slots().release()
            raise
        connections.start_soon(served, sock, client)


async def _next(opened: socket.socket) -> tuple[socket.socket, str]:
    while True:
        try:
            sock, address = opened.accept()
        except BlockingIOError:
            await trio.lowlevel.wait_readable(opened)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                if error.errno == errno.EBADF:
                    raise
                continue  # the client was gone before it was accepted
            await trio.sleep(NO_FILES_SECONDS)
        else:
            host, port = address[:2]
            return sock, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _hear(heard: Subscription, proxy: Proxy, start: RouterStart) -> None:
    kit = proxy.kit
    async for message in heard:
        now = trio.current_time()
        if message.subject == RouterRegister.subject:
            if register := kit.receive(message, RouterRegister):
                _register(register.body, proxy, now)
        elif message.subject == RouterUnregister.subject:
            if unregister := kit.receive(message, RouterUnregister):
                _unregister(unregister.body, proxy)
        elif message.subject == RouterGreet.subject and message.reply:
            # Not decoded: the original's tools send an empty one.
            kit.publish(start, subject=message.reply)


def _register(body: RouterRegister, proxy: Proxy, now: float) -> None:
    if not (0 < body.port < 65536 and body.host):
        proxy.kit.trace.event("route.refused", host=body.host, port=body.port)
        return
    endpoint = Endpoint(
        host=body.host,
        port=body.port,
        app=body.app or "",
        instance=body.private_instance_id or "",
        index=body.private_instance_index or "",
        tags=body.tags,
    )
    try:
        service = service_of(body.route_service_url)
    except BadService as error:
        # Without its service a route would answer what it should not: it gets no endpoint.
        proxy.kit.trace.event("route.refused", uris=", ".join(body.uris), why=str(error))
        return
    try:
        spread = spread_of(body.options)
    except BadOptions as error:
        proxy.kit.trace.event("route.options-refused", uris=", ".join(body.uris), why=str(error))
        spread = None
    stale_after = body.stale_threshold_in_seconds
    for uri in proxy.table.register(endpoint, body.uris, now, stale_after, spread, service):
        proxy.kit.trace.event("route.registered", uri=uri, endpoint=str(endpoint))


def _unregister(body: RouterUnregister, proxy: Proxy) -> None:
    address = body.host, body.port
    removed = proxy.table.unregister(address, body.uris, body.private_instance_id or "")
    for uri in removed:
        proxy.kit.trace.event("route.unregistered", uri=uri, endpoint=f"{body.host}:{body.port}")
    if removed:
        proxy.pool.forget(address)


async def _ask_again(kit: Kit, start: RouterStart) -> None:
    """Ask for all routes after each outage of the bus: some may have been announced meanwhile."""
    while True:
        await kit.bus.reconnected()
        kit.publish(start)


async def _prune(proxy: Proxy) -> None:
    """Drop what is stale: routes nobody announces, connections nobody uses."""
    while True:
        await trio.sleep(min(20.0, proxy.config.stale_after / 4))
        for uri, endpoint in proxy.table.prune(trio.current_time()):
            proxy.kit.trace.event("route.pruned", uri=uri, endpoint=str(endpoint))
            proxy.pool.forget(endpoint.address)
        proxy.pool.prune()


async def _status(
    config: RouterConfig, kit: Kit, proxy: Proxy, *, task_status: trio.TaskStatus[str]
) -> None:
    """/varz, /healthz, /metrics and /routes, for those who have the component's credentials."""
    await serve_component(
        kit,
        "Router",
        config.status_bind,
        varz=partial(varz, proxy),
        counters=COUNTERS,
        config=asdict(config),
        guarded={"/routes": partial(routes, proxy)},
        task_status=task_status,
    )


def varz(proxy: Proxy) -> dict[str, object]:
    """The router's own figures, by the names of the original."""
    figures, table = proxy.figures, proxy.table
    return {
        "requests": figures.requests,
        "bad_requests": figures.bad_requests,
        "bad_gateways": figures.bad_gateways,
        **{f"responses_{number}xx": figures.by_class[number] for number in range(2, 6)},
        "responses_xxx": sum(figures.by_class[:2]) + sum(figures.by_class[6:]),
        "urls": sum(1 for _ in table.routes()),
        "droplets": len({endpoint.app for endpoint in table.endpoints if endpoint.app}),
        "connections": len(proxy.sessions),
        "ms_since_last_registry_update": int((trio.current_time() - table.updated) * 1000),
    }


def routes(proxy: Proxy) -> dict[str, list[dict[str, object]]]:
    """All routes and their endpoints, as gorouter's /routes tells them."""
    now = trio.current_time()
    return {
        route.uri: [
            {
                "address": str(member.endpoint),
                "ttl": int(member.seen + member.stale_after - now),
                "app": member.endpoint.app,
                "private_instance_id": member.endpoint.instance,
                "tags": member.endpoint.tags,
                "failed": member.endpoint.failed_until > now,
            }
            for member in route.members.values()
        ]
        for route in proxy.table.routes()
    }
