"""The SSH server: who logs in, and which channels they get. On asyncio's side."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import asyncssh
from msgspec.structs import replace

from appliance.dea.messages_ssh import Wanted
from appliance.kernel.errors import ApplianceError
from appliance.ssh.channels import Forward, Session
from appliance.ssh.gate import Gate, Refused
from appliance.ssh.host_key import HostKey
from appliance.ssh.thread import Thread
from appliance.ssh.wire import Wire
from fake_controller.messages import SshAuthorized

LOGIN_SECONDS = 30.0  # for a client to log in
TRIES = 3  # codes that one client may try
ALIVE_SECONDS = 30.0  # between two looks whether a silent client is there
VERSION = "appliance"


class Door:
    """Takes clients. *gone* is called on trio's thread for each that has left."""

    def __init__(self, thread: Thread, gate: Gate, key: HostKey, gone: Callable[[], None]) -> None:
        self._thread = thread
        self._gate = gate
        self._gone = gone
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._options = {
            "server_host_keys": [asyncssh.import_private_key(key.private)],
            "server_version": VERSION,
            "login_timeout": LOGIN_SECONDS,
            "keepalive_interval": ALIVE_SECONDS,
            "public_key_auth": False,
            "kbdint_auth": False,
            "agent_forwarding": False,
            "line_editor": False,
            "encoding": None,
        }

    def let_in(self, sock: socket.socket) -> None:
        """Serve a client, whom *sock* leads to."""
        task = asyncio.get_running_loop().create_task(self._serve(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Tell every client that this is the end."""
        for connection in list(self._connections):
            connection.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, sock: socket.socket) -> None:
        try:
            host, port = sock.getpeername()[:2]
            client = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            connection = await asyncssh.run_server(
                sock,
                server_factory=lambda: Visitor(self._thread, self._gate, client),
                **self._options,
            )
            self._connections.add(connection)
            try:
                await connection.wait_closed()
            finally:
                self._connections.discard(connection)
        except Exception:
            # It has not logged in, has gone, or talks nonsense, for which the library raises
            # whatever it stumbles over; `Visitor.connection_lost` has told what it was.
            pass
        finally:
            sock.close()
            self._thread.tell(self._gone)


class Visitor(asyncssh.SSHServer):
    """One client."""

    def __init__(self, thread: Thread, gate: Gate, client: str) -> None:
        self._thread = thread
        self._gate = gate
        self._client = client
        self._tries = 0
        self._admitted: SshAuthorized | None = None
        self._connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """It is there, and has not logged in."""
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; *exc* is why, unless it has said goodbye."""
        if exc is not None and not isinstance(exc, asyncssh.Error | OSError):
            self._thread.tell(lambda: self._gate.broken(self._client, exc))
        if (admitted := self._admitted) is not None:
            self._thread.tell(lambda: self._gate.left(admitted, self._client))

    def password_auth_supported(self) -> bool:
        """The password is a one-time code; there is no other way to log in."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """Ask the controller. Why not is shown by those clients that show banners."""
        self._tries += 1
        try:
            if self._tries > TRIES:
                raise Refused("Too many codes were wrong.")
            self._admitted = await self._thread.ask(
                self._gate.authorize, username, password, self._client
            )
        except ApplianceError as error:
            self._connection.send_auth_banner(f"{error}\n")
            if self._tries >= TRIES:
                self._connection.disconnect(
                    asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, str(error)
                )
            return False
        return True

    def session_requested(self) -> Session:
        """A channel for a program."""
        return Session(self._open)

    async def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Forward:
        """A channel for a connection that the instance is to make."""
        try:
            wire = await self._open(Wanted(ticket="", connect=(dest_host, dest_port)))
        except ApplianceError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, str(error)) from None
        return Forward(wire)

    async def _open(self, wanted: Wanted) -> Wire:
        assert self._admitted is not None
        place = await self._thread.ask(self._gate.place, self._admitted)
        return await Wire.open(place, replace(wanted, ticket=place.ticket))
