"""Connections to apps that are kept for the next request."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Mapping

import trio

from appliance.kernel.kit import Dial
from appliance.router.endpoint import Address, Endpoint
from appliance.router.wire import AppLost, Wire

IDLE_SECONDS = 60.0  # an unused connection is closed after this
IDLE_MOST = 64  # unused connections kept for one endpoint
#: Apps close idle connections, the quickest after 2 s. What may not be sent twice only
#: takes a connection that was in use a moment ago, so that it does not meet the close.
FRESH_SECONDS = 1.0


class ConnectFailed(Exception):
    """The endpoint could not be reached; the text is the system's reason."""


class AppWire(Wire):
    """A connection to an endpoint."""

    __slots__ = ("address", "reused", "since")

    def __init__(self, sock: socket.socket, address: Address) -> None:
        super().__init__(sock, AppLost)
        self.address = address
        self.reused = False
        self.since = 0.0  # when it became idle


class Pool:
    """Idle connections by endpoint; the one used last is taken first."""

    def __init__(self, connect_timeout: float, dialers: Mapping[Address, Dial]) -> None:
        self._connect_timeout = connect_timeout
        self._dialers = dialers
        self._idle: dict[Address, deque[AppWire]] = {}

    async def take(self, endpoint: Endpoint, *, repeatable: bool, fresh: bool = False) -> AppWire:
        """A connection to *endpoint*, which the caller gives back or closes.

        Args:
          repeatable: The request may be sent again if the app has just closed the connection.
          fresh: Make a new connection in any case.

        Raises:
          ConnectFailed: nobody answers there.
        """
        idle = self._idle.get(endpoint.address)
        if idle and not fresh:
            oldest = trio.current_time() - (IDLE_SECONDS if repeatable else FRESH_SECONDS)
        while idle and not fresh:
            wire = idle.pop()
            if wire.since >= oldest and wire.quiet():
                wire.reused = True
                return wire
            wire.close()
        return await self._connect(endpoint.address)

    def give_back(self, wire: AppWire) -> None:
        """Keep *wire* for the next request. Its last answer was read to the end."""
        idle = self._idle.setdefault(wire.address, deque())
        if wire.buffer or len(idle) >= IDLE_MOST:
            # Bytes that nobody asked for would become the next client's answer.
            wire.close()
            return
        wire.since = trio.current_time()
        idle.append(wire)

    def forget(self, address: Address) -> None:
        """Close the idle connections to *address*."""
        for wire in self._idle.pop(address, ()):
            wire.close()

    def prune(self) -> None:
        """Close what has been idle for too long, or was closed by the app."""
        oldest = trio.current_time() - IDLE_SECONDS
        for address, idle in list(self._idle.items()):
            kept = deque(wire for wire in idle if wire.since >= oldest and wire.quiet())
            for wire in idle:
                if wire not in kept:
                    wire.close()
            if kept:
                self._idle[address] = kept
            else:
                del self._idle[address]

    def close(self) -> None:
        """Close everything that is idle."""
        for address in list(self._idle):
            self.forget(address)

    async def _connect(self, address: Address) -> AppWire:
        try:
            with trio.fail_after(self._connect_timeout):
                dial = self._dialers.get(address)
                return AppWire(await (dial() if dial else _open(address)), address)
        except trio.TooSlowError:
            raise ConnectFailed(f"no answer within {self._connect_timeout:g} s") from None
        except OSError as error:
            raise ConnectFailed(error.strerror or str(error)) from error


async def _open(address: Address) -> socket.socket:
    # An address of digits resolves at once; a name goes through a thread.
    found = await trio.socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    family, kind, protocol, _, target = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(target)
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if sock.getsockname() == sock.getpeername():
            # A connection to a free port of the ephemeral range can meet itself.
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return sock
