"""HTTP/1 on one connection: the gate, who asks, then a blob route or an ASGI stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from appliance.kernel.http import gate
from appliance.kernel.http.asgi import Stream, Tasks
from appliance.kernel.http.blob_plane import (
    DRAIN_BYTES,
    DRAIN_SECONDS,
    Blob,
    Routes,
    linger,
    make_exchange,
    target_path,
)
from appliance.kernel.http.errors import PresentError, for_status
from appliance.kernel.http.guard import run_blob
from appliance.kernel.http.origin import Allowed, check_origin
from appliance.kernel.http.receive import SLOW_WINDOW

if TYPE_CHECKING:
    from appliance.kernel.kit import Kit

KEEP_ALIVE_SECONDS = 75.0  # an idle connection is closed after this
HEAD_SECONDS = 10.0  # for a whole request head

Address = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What is served, the same for every connection of a listener."""

    app: ASGIWrapper
    kit: Kit
    routes: Routes
    present_error: PresentError
    config: Config
    context: WorkerContext
    limiter: trio.CapacityLimiter  # of the threads of blob requests
    allowed: Allowed  # the names it answers to


class Protocol(H11Protocol):
    """HTTP/1 on one connection: gate, then blob route or ASGI stream.

    Heads are held back here and given to h11 one at a time, each after the gate has
    passed it; pipelined requests included.
    """

    def __init__(
        self,
        serving: Serving,
        wire: trio.SocketStream,
        send: Callable[[Event], Awaitable[None]],
        tasks: Tasks,
        client: Address | None,
        local: Address | None,
    ) -> None:
        super().__init__(
            serving.app,
            serving.config,
            serving.context,
            tasks,  # type: ignore[arg-type]  # the two methods that HTTP/1 uses
            ConnectionState({}),
            False,
            client,
            local,
            send,
        )
        self.serving = serving
        self.wire = wire
        self.head = bytearray()  # of the next request, until it is complete
        self.expecting_head = True
        self.head_since = trio.current_time()
        self.answered_any = False
        self.held = b""  # an answer's head, until its first bytes of body join it
        self.body_finished = trio.Event()
        self.discarded = 0

    # Phases and deadlines.

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has arrived."""
        return self.expecting_head and not self.head

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
        _, headers, body = self.serving.present_error(error)
        self.serving.kit.trace.event("request.refused", status=refusal.status, why=refusal.reason)
        headers = headers | {"Content-Length": str(len(body)), "Connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {refusal.status} Refused\r\n{lines}\r\n".encode("latin-1", "replace")
        self.expecting_head = False
        await self.send(RawData(head + body))
        await linger(self.wire)
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
            refusal = self._check(bytes(self.head[:found])) if isinstance(found, int) else found
            if refusal is not None:
                await self.refuse(refusal)
                return
            whole, self.head = bytes(self.head), bytearray()
            self.expecting_head = False
            self.connection.receive_data(whole)
            await self._handle_events()

    def _check(self, head: bytes) -> gate.Refusal | None:
        return gate.check_head(head) or check_origin(head, self.serving.allowed)

    async def _handle_events(self) -> None:
        while True:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                    await linger(self.wire)
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
        path = target_path(request.target).partition(b"?")[0]
        found = self.serving.routes.find(request.method.decode("ascii").upper(), path)
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
        serving = self.serving
        exchange = make_exchange(
            request,
            params,
            self.wire,
            self.connection,
            clock=serving.kit.clock,
            limiter=serving.limiter,
        )
        rest = await run_blob(blob, exchange, serving.kit, serving.present_error)
        if exchange.close or serving.context.terminated.is_set():
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


def _has_length(response: h11.Response) -> bool:
    return any(name == b"content-length" and value != b"0" for name, value in response.headers)
