"""One connection of the listener: carries bytes between a socket and its `Session`."""

from __future__ import annotations

import socket
import ssl
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from appliance.kernel.bus.listener.secure import SecureSocket, secured
from appliance.kernel.bus.listener.session import Session

if TYPE_CHECKING:
    from appliance.kernel.bus.listener.server import Listener

RECEIVE = 64 * 1024  # bytes taken from a socket at once
GRACE = 1.0  # seconds to send a client the last bytes
LINGER = 0.25  # seconds for it to hang up, too


class Carrier:
    """Carries bytes between one socket and its `Session`."""

    def __init__(self, listener: Listener, connected: socket.socket, session: Session) -> None:
        self._listener = listener
        self._socket: socket.socket | SecureSocket = connected
        self._session = session
        self._reading = trio.CancelScope()
        self._sending = memoryview(b"")  # taken from the session, and not sent yet
        self._blocked = False  # a task waits for the socket
        self._emptied = trio.Event()  # the session is closed, and nothing is left to be sent
        self._gone = False  # the other side is

    async def run(self) -> None:
        """Serve the client until either side ends it. Whatever goes wrong, only this ends."""
        session = self._session
        try:
            with self._reading:
                if self._listener.tls is not None:
                    await self._secure(self._listener.tls)
                await self._read()
            session.end("The client has hung up.")
            await self._hang_up()
        except trio.TooSlowError:
            session.end("The client did not begin TLS in time.")
        except OSError as error:
            session.end(f"The connection broke: {error.strerror}.")
        except Exception:
            # A mistake of ours: it must not cost the other clients and the rooms their bus.
            session.hub.report(
                "client.failed", cid=session.cid, error=traceback.format_exc(limit=-8)
            )
            session.end("A bug of the listener.")
        finally:
            self._gone = True
            session.end("The server stops.")
            session.lost()
            self._listener.forget(session)
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def _secure(self, context: ssl.SSLContext) -> None:
        """Begin TLS. INFO has gone out in the clear; nothing else may until it has begun."""
        self._listener.flush()
        assert isinstance(self._socket, socket.socket)
        self._blocked = True
        try:
            self._socket = await secured(self._socket, context)
            self._blocked = False
        except BaseException:
            self._gone = True
            raise

    async def _read(self) -> None:
        receive, session, listener = self._socket.recv, self._session, self._listener
        listener.flush()
        while not session.closed:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data = receive(RECEIVE)
            except BlockingIOError:
                continue
            if not data:
                return
            with listener.batch():
                session.receive(data, trio.current_time())

    def push(self, now: float) -> None:
        """Send what waits, as far as the socket takes it; a task sends the rest."""
        if self._session.closed:
            self._reading.cancel()
        if not self._blocked and not self._gone and not self._send(now):
            self._blocked = True
            self._listener.connections.start_soon(self._send_the_rest)

    def _send(self, now: float) -> bool:
        """Whether the socket took everything."""
        session = self._session
        while True:
            if not self._sending:
                if not session.pending:
                    if session.closed:
                        self._emptied.set()
                    return True
                self._sending = memoryview(session.take(now))
            try:
                taken = self._socket.send(self._sending)
            except BlockingIOError:
                return False
            except OSError:
                self._gone = True
                session.lost()
                session.end("The client has hung up.")
                self._emptied.set()
                return True
            session.sent(taken, now)
            self._sending = self._sending[taken:]

    async def _send_the_rest(self) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                await trio.lowlevel.wait_writable(self._socket)
                if self._gone or self._send(trio.current_time()):
                    break
        self._blocked = False

    async def _hang_up(self) -> None:
        """Send the last words, and let the client read them.

        A socket that is closed with unread input is reset, and the client may never see
        what it was told: so what it still sends is read and forgotten.
        """
        self._listener.flush()
        with trio.move_on_after(0 if self._gone else GRACE):
            await self._emptied.wait()
        if self._gone or not self._emptied.is_set():
            return
        self._socket.shutdown(socket.SHUT_WR)
        with trio.move_on_after(LINGER):
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    if not self._socket.recv(RECEIVE):
                        return
                except BlockingIOError:
                    continue
