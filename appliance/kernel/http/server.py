"""The HTTP server: Hypercorn's protocol on trio, behind the gate, with the blob plane beside it.

Hypercorn 0.18 gives the ASGI streams and the lifespan; the connection is ours, since
its own ends the whole server on a protocol error, leaves uploads hanging that are
answered early, upgrades cleartext to HTTP/2 and has no place for a socket take-over.
`tests/contract/test_blob_plane.py` guards the names of Hypercorn that are used here.
"""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext

from appliance.kernel.http import gate
from appliance.kernel.http.blob_plane import Blob, Routes
from appliance.kernel.http.connection import Connection
from appliance.kernel.http.errors import PresentError, for_status, present_plain
from appliance.kernel.http.origin import allowed
from appliance.kernel.http.protocol import KEEP_ALIVE_SECONDS, Serving
from appliance.kernel.http.sockets import listen, url

if TYPE_CHECKING:
    from appliance.kernel.kit import Kit

GRACE_SECONDS = 20.0  # for requests in flight when the server stops
MAX_TRANSFERS = 256  # blob requests that have a thread at the same time
SPARE_FILES = 256  # descriptors that connections leave to everything else

#: Any ASGI 3 application. Its own types are looser than Hypercorn's.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_slots: trio.lowlevel.RunVar[trio.Semaphore] = trio.lowlevel.RunVar("connection slots")


async def serve_http(
    app: ASGIApp | None,
    bind: str,
    kit: Kit,
    *,
    blobs: Sequence[Blob] = (),
    present_error: PresentError = present_plain,
    hosts: Collection[str] = (),
    grace: float = GRACE_SECONDS,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve *blobs*, and *app* for everything else, until `kit.stopping`; then drain.

    ``started()`` gets ``http://HOST:PORT`` when connections are accepted.

    Args:
      app: An ASGI application; None answers 404 (or 405) to what no blob route takes.
      bind: ``host:port`` (port 0 takes a free one) or ``fd://N``; see `sockets.listen`.
      hosts: Names it answers to besides loopback's, the address it listens on and
        `kit.hosts`; a request for any other name is refused, see `origin`.
      grace: Seconds that requests in flight are given at the end.

    Raises:
      PortTaken: somebody else listens there.
    """
    sockets = listen(bind)
    routes = Routes(blobs)
    serving = Serving(
        app=ASGIWrapper(app or nothing_here(routes, present_error)),
        kit=kit,
        routes=routes,
        present_error=present_error,
        config=make_config(),
        context=WorkerContext(None),
        limiter=trio.CapacityLimiter(MAX_TRANSFERS),
        allowed=allowed((str(opened.getsockname()[0]) for opened in sockets), {*kit.hosts, *hosts}),
    )
    server = Server(serving)
    listeners = [
        CappedListener(trio.SocketListener(trio.socket.from_stdlib_socket(opened)))
        for opened in sockets
    ]
    async with trio.open_nursery() as lifespan_nursery:
        lifespan = Lifespan(serving.app, serving.config, {})
        await lifespan_nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    for listener in listeners:
                        accepting.start_soon(_accept, listener, server, connections)
                    task_status.started(url(sockets[0]))
                    await kit.stopping.wait()
                    accepting.cancel_scope.cancel()
                for listener in listeners:
                    await listener.aclose()
                await server.drain(grace)
            finally:
                # Answers are shielded from cancellation; only a closed socket ends those
                # that a silent client holds up.
                server.abort()
                for opened in sockets:
                    opened.close()
            connections.cancel_scope.cancel()
        await lifespan.wait_for_shutdown()
        lifespan_nursery.cancel_scope.cancel()


class CappedListener(trio.abc.Listener[trio.SocketStream]):
    """A listener that accepts no more than the process has descriptors for.

    What is above the cap waits in the backlog; without it, accept() would fail and
    files could not be opened any more.
    """

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener

    async def accept(self) -> trio.SocketStream:
        await slots().acquire()
        try:
            return await self._listener.accept()
        except BaseException:
            slots().release()
            raise

    async def aclose(self) -> None:
        await self._listener.aclose()


def slots() -> trio.Semaphore:
    """One slot per connection that all servers of this process may hold together."""
    try:
        return _slots.get()
    except LookupError:
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A connection in transfer has two descriptors, its own and the thread's.
        made = trio.Semaphore(max(16, (min(soft, 100_000) - SPARE_FILES) // 2))
        _slots.set(made)
        return made


async def _accept(listener: CappedListener, server: Server, connections: trio.Nursery) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        try:
            await server.run(stream)
        finally:
            slots().release()

    await trio.serve_listeners(serve, [listener], handler_nursery=connections)


class Server:
    """The connections of one server."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._connections: set[Connection] = set()
        self._one_ended = trio.Event()  # renewed for each connection that ends

    async def run(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        connection = Connection(self._serving, stream)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._one_ended.set()
            self._one_ended = trio.Event()

    async def drain(self, grace: float) -> None:
        """Close what is idle, and wait *grace* seconds for the answers in flight."""
        await self._serving.context.terminated.set()
        for connection in self._connections:
            connection.close_if_idle()
        with trio.move_on_after(grace):
            while self._connections:
                await self._one_ended.wait()

    def abort(self) -> None:
        """Close every socket that is still open, so that its tasks end."""
        for connection in self._connections:
            connection.stream.socket.close()


def make_config() -> Config:
    """Hypercorn's settings. It prints nothing: the trace tells what happens."""
    config = Config()
    config.accesslog = config.errorlog = None
    config.alpn_protocols = ["http/1.1"]
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 1_000_000
    config.h11_max_incomplete_size = gate.MAX_HEAD
    return config


def nothing_here(routes: Routes, present_error: PresentError) -> ASGIApp:
    """An application that has nothing, for servers of blobs alone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        error = for_status(404, "There is nothing at this path.")
        allowed = routes.methods(scope["raw_path"])
        if allowed:
            error = for_status(405, "This path does not have that method.")
        status, headers, body = present_error(error)
        named = headers | {"Content-Length": str(len(body))}
        if allowed:
            named["Allow"] = ", ".join(allowed)
        encoded = [(name.lower().encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    return app
