"""An ASGI application that is built after the door is open: loading Quart takes a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio


class LateApp:
    """Stands in for the application that *make* builds; requests wait until it is there."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._app: Any = None
        self._loading = trio.Lock()

    async def load(self) -> None:
        """Build it, in a thread, so that what needs no application goes on answering."""
        async with self._loading:
            if self._app is None:
                self._app = await trio.to_thread.run_sync(self._make)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await self.load()
        await self._app(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        # The application has nothing to do at start and end; the room does all of that.
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
