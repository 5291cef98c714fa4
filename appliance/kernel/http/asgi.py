"""The ASGI side of a request: Hypercorn's stream, with bounded queues and guarded tasks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request
from hypercorn.protocol.http_stream import HTTPStream

from appliance.kernel.http.blob_plane import target_path
from appliance.kernel.http.guard import report, without

if TYPE_CHECKING:
    from appliance.kernel.kit import Kit


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
            others = without(error, trio.BrokenResourceError, trio.ClosedResourceError)
            if others is not None:
                report(self._kit, "handler.failed", others, path=scope.get("path", ""))
        finally:
            inbox.close()
            with trio.CancelScope(shield=True):
                await send(None)
