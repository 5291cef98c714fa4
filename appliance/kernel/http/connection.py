"""One accepted connection: reads, deadlines and writes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
from hypercorn.events import Closed, Event, RawData, Updated

from appliance.kernel.http.asgi import Tasks
from appliance.kernel.http.blob_plane import WRITE_SECONDS
from appliance.kernel.http.guard import report, without
from appliance.kernel.http.protocol import Address, Protocol, Serving
from appliance.kernel.http.receive import SLOW_BYTES, SLOW_WINDOW

MAX_RECV = 64 * 1024  # bytes


class Connection:
    """One accepted connection: reads, deadlines and writes."""

    def __init__(self, serving: Serving, stream: trio.SocketStream) -> None:
        self.serving = serving
        self.stream = stream
        self.protocol: Protocol
        self._reading = trio.CancelScope()
        self._send_lock = trio.Lock()
        self._body_waited = 0.0  # seconds that this body's client was waited for
        self._body_bytes = 0

    async def run(self) -> None:
        """Serve requests until either side closes. Whatever goes wrong, only this ends."""
        try:
            await self._serve()
        except Exception as error:
            others = without(error, OSError, trio.BrokenResourceError, trio.ClosedResourceError)
            if others is not None:
                report(self.serving.kit, "connection.failed", others)
        finally:
            await trio.aclose_forcefully(self.stream)

    async def _serve(self) -> None:
        client = _address(self.stream.socket.getpeername())
        local = _address(self.stream.socket.getsockname())
        async with Tasks(self.serving.kit) as tasks:
            self.protocol = Protocol(self.serving, self.stream, self.send, tasks, client, local)
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
        """End a connection on which nothing has been asked; the server stops."""
        if self.protocol.idle:
            self._reading.cancel()


def _address(name: Any) -> Address | None:
    return (name[0], name[1]) if isinstance(name, tuple) else None
