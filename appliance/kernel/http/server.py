"""The HTTP server: Hypercorn's protocol on trio, behind the gate, with the blob plane beside it.

Hypercorn 0.18 gives the ASGI streams and the lifespan; the connection is ours, since
its own ends the whole server on a protocol error, leaves uploads hanging that are
answered early, upgrades cleartext to HTTP/2 and has no place for a socket take-over.
`tests/contract/test_blob_plane.py` guards the names of Hypercorn that are used here.
"""

from __future__ import annotations

import resource
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http import gate
from appliance.kernel.http.blob_plane import (
    DRAIN_BYTES,
    DRAIN_SECONDS,
    WRITE_SECONDS,
    Blob,
    Exchange,
    Routes,
    linger,
    make_exchange,
    target_path,
)
from appliance.kernel.http.errors import (
    ClientGone,
    Internal,
    PresentError,
    TooSlow,
    for_status,
    from_os_error,
    present_plain,
)
from appliance.kernel.http.receive import SLOW_BYTES, SLOW_WINDOW
from appliance.kernel.http.sockets import listen, url
from appliance.kernel.trace import SENDER_HEADER, TRACE_HEADER, current_trace

if TYPE_CHECKING:
    from appliance.kernel.kit import Kit

KEEP_ALIVE_SECONDS = 75.0  # an idle connection is closed after this
HEAD_SECONDS = 10.0  # for a whole request head
GRACE_SECONDS = 5.0  # for requests in flight when the server stops
MAX_RECV = 64 * 1024  # bytes
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
    grace: float = GRACE_SECONDS,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve *blobs*, and *app* for everything else, until `kit.stopping`; then drain.

    ``started()`` gets ``http://HOST:PORT`` when connections are accepted.

    Args:
      app: An ASGI application; None answers 404 (or 405) to what no blob route takes.
      bind: ``host:port`` (port 0 takes a free one) or ``fd://N``; see `sockets.listen`.
      grace: Seconds that requests in flight are given at the end.

    Raises:
      PortTaken: somebody else listens there.
    """
    sockets = listen(bind)
    routes = Routes(blobs)
    server = Server(app or nothing_here(routes, present_error), kit, routes, present_error)
    listeners = [
        CappedListener(trio.SocketListener(trio.socket.from_stdlib_socket(opened)))
        for opened in sockets
    ]
    async with trio.open_nursery() as lifespan_nursery:
        lifespan = Lifespan(server.app, server.config, {})
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
            await Connection(server, stream).run()
        finally:
            slots().release()

    await trio.serve_listeners(serve, [listener], handler_nursery=connections)


class Server:
    """What the connections of one listener share."""

    def __init__(self, app: ASGIApp, kit: Kit, routes: Routes, present_error: PresentError) -> None:
        self.app = ASGIWrapper(app)
        self.kit = kit
        self.routes = routes
        self.present_error = present_error
        self.config = make_config()
        self.context = WorkerContext(None)
        self.limiter = trio.CapacityLimiter(MAX_TRANSFERS)
        self.connections: set[Connection] = set()
        self.one_ended = trio.Event()  # renewed for each connection that ends

    def ended(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)
        self.one_ended.set()
        self.one_ended = trio.Event()

    async def drain(self, grace: float) -> None:
        """Close what is idle, and wait *grace* seconds for the answers in flight."""
        await self.context.terminated.set()
        for connection in self.connections:
            connection.close_if_idle()
        with trio.move_on_after(grace):
            while self.connections:
                await self.one_ended.wait()

    def abort(self) -> None:
        """Close every socket that is still open, so that its tasks end."""
        for connection in self.connections:
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


class Connection:
    """One accepted connection: reads, deadlines and writes."""

    def __init__(self, server: Server, stream: trio.SocketStream) -> None:
        self.server = server
        self.stream = stream
        self.protocol: Protocol
        self._reading = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._body_waited = 0.0  # seconds that this body's client was waited for
        self._body_bytes = 0

    async def run(self) -> None:
        """Serve requests until either side closes. Whatever goes wrong, only this ends."""
        self.server.connections.add(self)
        try:
            await self._serve()
        except Exception as error:
            others = _without(error, OSError, trio.BrokenResourceError, trio.ClosedResourceError)
            if others is not None:
                report(self.server.kit, "connection.failed", others)
        finally:
            self.server.ended(self)
            await trio.aclose_forcefully(self.stream)

    async def _serve(self) -> None:
        client = _address(self.stream.socket.getpeername())
        local = _address(self.stream.socket.getsockname())
        async with Tasks(self.server.kit) as tasks:
            self.protocol = Protocol(self, tasks, client, local)
            try:
                await self._read()
            finally:
                self.protocol.body_finished.set()  # an answer may be waiting for it, shielded

    async def _read(self) -> None:
        while True:
            data = await self._receive()
            if data is None:
                await self.protocol.late()
                break
            await self.protocol.handle(RawData(data))
            if not data:
                break
        await self.protocol.handle(Closed())

    async def _receive(self) -> bytes | None:
        """The next bytes; b"" when the client is gone, None when it was too slow."""
        in_body = self.protocol.phase == "body"
        began = trio.current_time()
        with trio.CancelScope(deadline=self.protocol.deadline(began)) as self._reading:
            try:
                data = bytes(await self.stream.receive_some(MAX_RECV))
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                return b""
            if in_body and not self._keeps_pace(trio.current_time() - began, len(data)):
                return None
            return data
        return None

    def _keeps_pace(self, waited: float, received: int) -> bool:
        self._body_waited += waited
        self._body_bytes += received
        if self._body_waited < SLOW_WINDOW:
            return True
        enough = self._body_bytes >= SLOW_BYTES
        self._body_waited, self._body_bytes = 0.0, 0
        return enough

    async def send(self, event: Event) -> None:
        """What the protocol wants done with the socket (Hypercorn's event types)."""
        if isinstance(event, RawData):
            if event.data:
                await self._write(event.data)
        elif isinstance(event, Closed):
            await self._close()
        elif isinstance(event, Updated):
            # The reader may already be waiting, under the deadline of the phase before.
            self._reading.deadline = self.protocol.deadline(trio.current_time())

    async def _write(self, data: bytes) -> None:
        async with self._send_lock:
            try:
                with trio.CancelScope(shield=True) as patience:
                    patience.deadline = trio.current_time() + WRITE_SECONDS
                    await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.protocol.handle(Closed())
                return
        if patience.cancelled_caught:
            await self._close()

    async def _close(self) -> None:
        with suppress(trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError):
            await self.stream.send_eof()
        await trio.aclose_forcefully(self.stream)
        await self.protocol.handle(Closed())

    def close_if_idle(self) -> None:
        """End a connection that waits for its next request; the server stops."""
        if self.protocol.phase == "idle":
            self._reading.cancel()


class Protocol(H11Protocol):
    """HTTP/1 on one connection: gate, then blob route or ASGI stream.

    Heads are held back here and given to h11 one at a time, each after the gate has
    passed it; pipelined requests included.
    """

    def __init__(
        self,
        connection: Connection,
        tasks: Tasks,
        client: tuple[str, int] | None,
        local: tuple[str, int] | None,
    ) -> None:
        server = connection.server
        super().__init__(
            server.app,
            server.config,
            server.context,
            tasks,  # type: ignore[arg-type]  # the two methods that HTTP/1 uses
            ConnectionState({}),
            False,
            client,
            local,
            connection.send,
        )
        self.owner = connection
        self.head = bytearray()  # of the next request, until it is complete
        self.expecting_head = True
        self.head_since = trio.current_time()
        self.answered_any = False
        self.held = b""  # an answer's head, until its first bytes of body join it
        self.body_finished = trio.Event()
        self.discarded = 0

    # Phases and deadlines.

    @property
    def phase(self) -> str:
        """``idle``, ``head``, ``body`` or ``serving``."""
        if self.expecting_head:
            return "head" if self.head or not self.answered_any else "idle"
        return "body" if self.connection.their_state is h11.SEND_BODY else "serving"

    def deadline(self, now: float) -> float:
        """Until when the next bytes must arrive, on trio's clock."""
        if self.phase == "head":
            return self.head_since + HEAD_SECONDS
        if self.phase == "idle":
            return now + KEEP_ALIVE_SECONDS
        return now + SLOW_WINDOW if self.phase == "body" else float("inf")

    async def late(self) -> None:
        """The deadline passed: say so when a request had begun, then close."""
        if self.phase == "head" and self.head:
            await self.refuse(gate.Refusal(408, "The request head did not arrive in time."))
        elif self.phase == "body" and self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self.refuse(gate.Refusal(408, "The request body did not arrive in time."))
        else:
            await self.send(Closed())

    async def refuse(self, refusal: gate.Refusal) -> None:
        """Answer without h11, which may know nothing of this request, and close."""
        error = for_status(refusal.status, refusal.reason)
        _, headers, body = self.owner.server.present_error(error)
        self.owner.server.kit.trace.event(
            "request.refused", status=refusal.status, why=refusal.reason
        )
        headers = headers | {"Content-Length": str(len(body)), "Connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {refusal.status} Refused\r\n{lines}\r\n".encode("latin-1", "replace")
        self.expecting_head = False
        await self.send(RawData(head + body))
        await linger(self.owner.stream)
        await self.send(Closed())

    # Bytes in.

    async def handle(self, event: Event) -> None:
        """Hypercorn's entry: bytes from the socket, or the news that it is closed."""
        if not isinstance(event, RawData):
            await super().handle(event)
            return
        if self.expecting_head:
            if not self.head and event.data:
                self.head_since = trio.current_time()
            self.head += event.data
        else:
            self.connection.receive_data(event.data)
            await self._handle_events()
        while self.expecting_head and self.head:
            if self.head[:2] == b"\r\n":  # RFC 9112 2.2: an empty line before a request
                del self.head[:2]
                continue
            found = gate.find_head(self.head)
            if found is None:
                return
            refusal = gate.check_head(bytes(self.head[:found])) if isinstance(found, int) else found
            if refusal is not None:
                await self.refuse(refusal)
                return
            whole, self.head = bytes(self.head), bytearray()
            self.expecting_head = False
            self.connection.receive_data(whole)
            await self._handle_events()

    async def _handle_events(self) -> None:
        while True:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                    await linger(self.owner.stream)
                await self.send(Closed())
                return
            if isinstance(event, h11.Request):
                await self._create_stream(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif isinstance(event, h11.ConnectionClosed) or event is h11.NEED_DATA:
                return
            elif isinstance(event, h11.Data):
                await self._take_body(event)
            elif isinstance(event, h11.EndOfMessage):
                if self.stream is not None:
                    await self.stream.handle(EndBody(stream_id=STREAM_ID))
                self.body_finished.set()
            elif isinstance(event, Data) and self.stream is not None:
                await self.stream.handle(event)  # of a WebSocket

    async def _take_body(self, event: h11.Data) -> None:
        stream = self.stream
        if isinstance(stream, Stream) and stream.state is not ASGIHTTPState.CLOSED:
            await stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
            return
        # The application has answered: the rest of the upload is thrown away.
        self.discarded += len(event.data)
        if self.discarded > DRAIN_BYTES:
            self.body_finished.set()

    async def _create_stream(self, request: h11.Request) -> None:
        self.answered_any = True
        self.body_finished, self.discarded = trio.Event(), 0
        server = self.owner.server
        path = target_path(request.target).partition(b"?")[0]
        found = server.routes.find(request.method.decode("ascii").upper(), path)
        if found is not None:
            await self._take_over(request, *found)
            return
        if any(name == b"upgrade" for name, _ in request.headers):
            await super()._create_stream(request)  # a WebSocket, if it says so
            return
        self.stream = Stream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1

    async def _take_over(self, request: h11.Request, blob: Blob, params: dict[str, str]) -> None:
        """Give the socket to a blob route for one request."""
        assert isinstance(self.connection, h11.Connection)
        server = self.owner.server
        exchange = make_exchange(
            request,
            params,
            self.owner.stream,
            self.connection,
            clock=server.kit.clock,
            limiter=server.limiter,
        )
        rest = await run_blob(blob, exchange, server.kit, server.present_error)
        if exchange.close or server.context.terminated.is_set():
            await self.send(Closed())
            return
        await self._next_request(rest)

    # Answers out.

    async def _send_h11_event(self, event: Any) -> None:
        try:
            data = self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response) and _has_length(event):
            # The body follows at once: head and body leave in one packet.
            self.held = data
            return
        data, self.held = self.held + data, b""
        await self.send(RawData(data))

    async def _maybe_recycle(self) -> None:
        """The application has answered; runs in its task."""
        connection = self.connection
        if (
            isinstance(connection, h11.Connection)
            and connection.our_state is h11.DONE
            and connection.their_state is h11.SEND_BODY
        ):
            # Answered early, as a refused upload is. The reader throws the rest away;
            # closing at once would reset the connection under the client's hands.
            if isinstance(self.stream, Stream):
                self.stream.stop_listening()
            with trio.move_on_after(DRAIN_SECONDS):
                await self.body_finished.wait()
        await self._close_stream()
        if (
            isinstance(connection, h11.Connection)
            and connection.our_state is h11.DONE
            and connection.their_state is h11.DONE
            and not self.context.terminated.is_set()
        ):
            await self._next_request(connection.trailing_data[0])
        else:
            await self.can_read.set()
            await self.send(Closed())

    async def _next_request(self, rest: bytes) -> None:
        # A new h11 connection has an empty buffer: *rest* must pass the gate first.
        self.connection = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )
        self.head = bytearray(rest)
        self.head_since = trio.current_time()
        self.expecting_head = True
        await self.can_read.set()
        await self.send(Updated(idle=True))


class Stream(HTTPStream):
    """Hypercorn's ASGI side of one request, with an escaped slash kept as it is."""

    async def handle(self, event: StreamEvent) -> None:
        """Hypercorn's entry; the application's task is spawned here and runs later."""
        await super().handle(event)
        if isinstance(event, Request) and not self.closed:
            # Decoding %2f would make two segments of one, and another route of it.
            path = target_path(event.raw_path).partition(b"?")[0].decode("ascii")
            kept = path.replace("%2f", "%252F").replace("%2F", "%252F")
            self.scope["path"] = unquote(kept)

    def stop_listening(self) -> None:
        """The application reads no more: whoever waits to hand it a piece goes on."""
        if isinstance(self.app_put, Inbox):
            self.app_put.close()


class Inbox:
    """The events that an ASGI application receives, in a bounded queue.

    After `close`, events are thrown away and the application hears of a disconnect:
    nobody ever waits for an application that reads no more.
    """

    def __init__(self, size: int) -> None:
        self._into: trio.MemorySendChannel[Any]
        self._out: trio.MemoryReceiveChannel[Any]
        self._into, self._out = trio.open_memory_channel[Any](size)

    async def __call__(self, event: Any) -> None:
        if event["type"] == "http.disconnect":
            self._into.close()
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._into.send(event)

    async def receive(self) -> Any:
        """ASGI's receive()."""
        try:
            return await self._out.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return {"type": "http.disconnect"}

    def close(self) -> None:
        """Stop taking events."""
        self._into.close()
        self._out.close()


class Tasks:
    """The tasks of one connection's applications, in the shape that Hypercorn asks for."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery

    async def __aenter__(self) -> Tasks:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._manager.__aexit__(*error)

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run *function* beside the connection."""
        self._nursery.start_soon(function, *args)

    async def spawn_app(self, app: Any, config: Config, scope: Any, send: Any) -> Inbox:
        """Run *app* for one request; the result takes its events."""
        inbox = Inbox(config.max_app_queue_size)
        self._nursery.start_soon(self._run, app, scope, inbox, send)
        return inbox

    async def _run(self, app: Any, scope: Any, inbox: Inbox, send: Any) -> None:
        async def shielded(message: Any) -> None:
            # Quart cancels itself when the request is over, which its last send brings
            # about: without the shield, "Connection: close" would never close.
            with trio.CancelScope(shield=True):
                await send(message)
            await trio.lowlevel.checkpoint_if_cancelled()

        try:
            await app(scope, inbox.receive, shielded, trio.to_thread.run_sync, trio.from_thread.run)
        except Exception as error:
            others = _without(error, trio.BrokenResourceError, trio.ClosedResourceError)
            if others is not None:
                report(self._kit, "handler.failed", others, path=scope.get("path", ""))
        finally:
            inbox.close()
            with trio.CancelScope(shield=True):
                await send(None)


async def run_blob(blob: Blob, exchange: Exchange, kit: Kit, present_error: PresentError) -> bytes:
    """Run a blob route's handler in its guard; the bytes of the next request.

    Whatever the handler raises becomes an answer, or a closed connection when the
    answer had begun. Only cancellation passes through.
    """
    trace = exchange.headers.get(TRACE_HEADER.lower(), "")[:200]
    token = current_trace.set(trace)
    if trace:
        exchange.answer_headers[TRACE_HEADER] = trace
    began = trio.current_time()
    try:
        await _guarded(blob, exchange, kit, present_error)
        return await exchange.finish()
    finally:
        exchange.release()
        sender = exchange.headers.get(SENDER_HEADER.lower(), "")
        if sender:
            kit.trace.event(
                "http.served",
                method=exchange.method,
                path=exchange.path,
                status=exchange.status,
                ms=round((trio.current_time() - began) * 1000, 1),
                sender=sender,
            )
        current_trace.reset(token)


async def _guarded(blob: Blob, exchange: Exchange, kit: Kit, present_error: PresentError) -> None:
    failure: ApplianceError
    try:
        await blob.handler(exchange)
        if exchange.status:
            return
        failure = Internal("The server has no answer to this.")
        kit.trace.event("handler.failed", path=exchange.path, error="no answer was made")
    except (ClientGone, TooSlow) as error:
        exchange.close = True
        failure = error
    except ApplianceError as error:
        failure = error
    except OSError as error:
        failure = from_os_error(error)
        kit.trace.event("storage.failed", path=exchange.path, error=str(error))
    except Exception as error:
        exchange.close = True
        failure = Internal("The server failed; its trace tells more.")
        report(kit, "handler.failed", error, path=exchange.path)
    if exchange.status:
        exchange.close = True  # the answer had begun: cutting it short is the only sign left
        return
    status, headers, body = present_error(failure)
    with suppress(ClientGone, TooSlow):
        await exchange.reply(status, body, headers=headers)


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


def report(kit: Kit, what: str, error: BaseException, **data: str) -> None:
    """Put a bug's traceback into the trace."""
    text = "".join(traceback.format_exception(error))
    kit.trace.event(what, error=f"{type(error).__name__}: {error}", traceback=text, **data)


def _without(error: Exception, *kinds: type[BaseException]) -> BaseException | None:
    """*error* without the expected *kinds*; None when nothing else is in it."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kinds)[1]
    return None if isinstance(error, kinds) else error


def _address(name: Any) -> tuple[str, int] | None:
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _has_length(response: h11.Response) -> bool:
    return any(name == b"content-length" and value != b"0" for name, value in response.headers)
