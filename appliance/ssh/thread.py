"""The thread in which the SSH library lives, on an asyncio loop of its own.

asyncssh, not paramiko: both load in 0.15 s and 30 MB, but paramiko's server has a thread for each
connection that looks around ten times a second, and no flow control for channels that one thread
serves. It is loaded here, when the first client comes, and never before.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from appliance.kernel.errors import ApplianceError

if TYPE_CHECKING:
    from appliance.ssh.server import Door

T = TypeVar("T")

CLOSE_SECONDS = 2.0  # for clients to be told that the room stops


class Thread:
    """One loop, its connections, and the way from there to trio.

    Args:
      nursery: Where questions of the loop are answered.
      make_door: Called in the thread, once; loads the library.
    """

    def __init__(self, nursery: trio.Nursery, make_door: Callable[[Thread], Door]) -> None:
        self._nursery = nursery
        self._make_door = make_door
        self._trio = trio.lowlevel.current_trio_token()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._door: Door | None = None
        self._bug: BaseException | None = None  # in a task or callback of the loop
        self._over = trio.Event()
        self._crash: BaseException | None = None
        self._closed = False  # no more questions; on trio's thread
        self._waiting: list[socket.socket] = []
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="ssh", daemon=True)
        self._thread.start()

    # On trio's thread.

    def adopt(self, sock: socket.socket) -> None:
        """Serve a client that has been accepted; *sock* is the thread's from now on."""
        with self._guard:
            self._waiting.append(sock)
        self._soon(self._begin)

    async def over(self) -> None:
        """Wait until the thread has ended; a bug in it is raised."""
        await self._over.wait()
        self._thread.join()  # it said so with its last breath
        if self._crash is not None:
            raise self._crash

    async def aclose(self) -> None:
        """Tell the clients, and end. Not stopped by cancellation."""
        self._closed = True
        with trio.CancelScope(shield=True):
            self._soon(self._stopping.set)
            await self.over()

    # On the loop's thread.

    async def ask(self, answer: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """What *answer* returns or raises when trio runs it."""
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(act: Callable[[], None]) -> None:
            if not future.done():  # the client may be gone meanwhile
                act()

        async def on_trio() -> None:
            try:
                value = await answer(*arguments)
            except ApplianceError as error:
                self._soon(settle, partial(future.set_exception, error))
            else:
                self._soon(settle, partial(future.set_result, value))

        self.tell(lambda: self._nursery.start_soon(on_trio))
        return await future

    def tell(self, act: Callable[[], None]) -> None:
        """Have *act* done on trio's thread, soon; not any more when the room stops."""
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(lambda: None if self._closed else act())

    def _soon(self, act: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(act, *arguments)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._crash = error
        with self._guard:
            for sock in self._waiting:
                sock.close()
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(self._over.set)

    async def _serve(self) -> None:
        self._loop.set_exception_handler(self._fault)
        self._door = self._make_door(self)
        self._begin()
        await self._stopping.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._door.close()
        if self._bug is not None:
            raise self._bug

    def _begin(self) -> None:
        """Serve who waits; the first ones have come before there was a door."""
        if self._door is None:
            return
        with self._guard:
            waiting, self._waiting = self._waiting, []
        for sock in waiting:
            self._door.let_in(sock)

    def _fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A bug ends the room; that a client has gone at a bad moment does not."""
        error = context.get("exception")
        if error is not None and not isinstance(error, OSError):
            self._bug = error
            self._stopping.set()
