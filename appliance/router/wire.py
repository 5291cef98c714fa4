"""One TCP connection, with as little between it and the system as trio allows.

`trio.SocketStream` yields to the scheduler after every read and write, also when
nothing had to be waited for; at three of them a request, that halves the rate.
Here only waiting yields, so whoever copies much has to add checkpoints.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

RECEIVE = 64 * 1024  # bytes asked for when a head or chunks are read


class Lost(Exception):
    """The other side closed or broke the connection."""


class ClientLost(Lost):
    """The client is gone."""


class AppLost(Lost):
    """The app's side is gone."""


class Wire:
    """A connected socket, and what was read from it too far. Closed by whoever made it."""

    __slots__ = ("buffer", "lost", "sock")

    def __init__(self, sock: socket.socket, lost: type[Lost]) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # not every socket is TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = b""
        self.lost = lost  # raised when the other side goes

    async def fill(self) -> bool:
        """Read what there is onto the end of `buffer`; False at the end of the stream.

        Between two messages there is nothing to read yet, so this waits before it tries.
        """
        await trio.lowlevel.wait_readable(self.sock)
        data = await self.receive(RECEIVE)
        self.buffer = self.buffer + data if self.buffer else data
        return bool(data)

    def take(self, count: int) -> bytes:
        """The first *count* bytes of `buffer`, or all that it has."""
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    async def receive(self, count: int) -> bytes:
        """At most *count* bytes from the socket; none at the end of the stream."""
        while True:
            try:
                return self.sock.recv(count)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)
            except OSError as error:
                raise self.lost(str(error)) from error

    async def receive_into(self, view: memoryview) -> int:
        """Fill *view* with what there is; 0 at the end of the stream."""
        while True:
            try:
                return self.sock.recv_into(view)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)
            except OSError as error:
                raise self.lost(str(error)) from error

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of *data*."""
        while True:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)
                continue
            except OSError as error:
                raise self.lost(str(error)) from error
            if sent == len(data):
                return
            data = memoryview(data)[sent:]

    def quiet(self) -> bool:
        """Whether the connection stands and has nothing to read: neither bytes nor an end."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def ended(self) -> bool:
        """Whether the other side has closed, and everything it sent has been read."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def finish(self) -> None:
        """Tell the other side that no more will be sent."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    async def linger(self, seconds: float, most: int) -> None:
        """Finish, and read away at most *most* bytes that are still under way.

        A close with unread bytes resets the connection, and the reset can overtake the
        last answer.
        """
        self.finish()
        with trio.move_on_after(seconds), suppress(Lost):
            while most > 0 and (data := await self.receive(RECEIVE)):
                most -= len(data)
                await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close the socket; tasks that wait on it are woken."""
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()
