"""Lines of apps go on to the syslog drains that are bound to them.

A drain that is slow or away costs its own lines, counted and told, and nobody else's.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.client import Client
from appliance.kernel.http.errors import BadAnswer
from appliance.logs.messages import Line, LogLines
from fake_controller.controller import Controller
from fake_controller.model import ServiceCredentialBinding
from fake_controller.store import Tx
from fake_controller.syslog import BadDrain, Drain, framed, hostname, message

WAITING = 10_000  # lines for one drain; more are lost while it is behind
CONNECT = 5.0  # seconds
TAKE = 30.0  # seconds for a drain to take a line
PAUSE_FIRST, PAUSE_MOST = 1.0, 60.0  # seconds between attempts; each is twice the one before
OURS = "LGR"  # the source of what is said of drains themselves, which they are not sent

Key = tuple[str, str]  # an app's guid, and a URL
Send = Callable[[bytes], Awaitable[None]]


def drains_of(tx: Tx) -> dict[Key, Drain]:
    """Every drain of every app, each once."""
    bindings = [
        binding
        for binding in tx.find(ServiceCredentialBinding, type="app")
        if binding.syslog_drain_url and binding.last_operation.is_("create", "succeeded")
    ]
    apps = {app.guid: app for app in tx.follow(bindings, "app")}
    spaces = {space.guid: space for space in tx.follow(list(apps.values()), "space")}
    tenants = {one.guid: one for one in tx.follow(list(spaces.values()), "organization")}
    found = {}
    for binding in bindings:
        app, url = apps[str(binding.app_guid)], str(binding.syslog_drain_url)
        space = spaces[app.space_guid]
        name = hostname(tenants[space.organization_guid].name, space.name, app.name)
        found[app.guid, url] = Drain(app_guid=app.guid, url=url, hostname=name)
    return found


@dataclass(frozen=True)
class Drains:
    """The drains of one controller."""

    cc: Controller
    pause: float = PAUSE_FIRST  # seconds after the first failure

    async def run(self) -> None:
        """Serve every drain for as long as it is bound; until cancelled."""
        running: dict[Key, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            while True:
                changed = self.cc.store.changed(ServiceCredentialBinding)
                wanted = await self.cc.store.read(drains_of)
                for key in running.keys() - wanted.keys():
                    running.pop(key).cancel()
                for key in wanted.keys() - running.keys():
                    running[key] = trio.CancelScope()
                    await nursery.start(self._drain, wanted[key], running[key])
                await changed.wait()

    async def _drain(
        self,
        drain: Drain,
        scope: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            drain.target()
        except BadDrain as error:
            task_status.started()
            self._tell(drain, str(error))
            return
        put, take = trio.open_memory_channel[Line](WAITING)
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._collect, drain, put)
                task_status.started()
                await self._send_all(drain, take)

    async def _collect(
        self,
        drain: Drain,
        put: trio.MemorySendChannel[Line],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep the app's lines for the drain, as many as there is room for."""
        lost, subject = 0, f"logs.lines.{drain.app_guid}"
        async with put, self.cc.kit.subscribe(LogLines, subject=subject) as inbox:
            task_status.started()
            async for received in inbox:
                lines = [line for line in received.body.lines if line.source_type != OURS]
                for number, line in enumerate(lines):
                    try:
                        put.send_nowait(line)
                    except trio.WouldBlock:
                        lost += len(lines) - number
                        break
                else:
                    if lost:
                        self._tell(drain, f"{lost} lines were lost: it took them too slowly.")
                        lost = 0

    async def _send_all(self, drain: Drain, take: trio.MemoryReceiveChannel[Line]) -> None:
        """Send line after line; one that could not be sent is the first of the next attempt."""
        pause, line = self.pause, None
        while True:
            try:
                line = line or await take.receive()
                async with connected(drain, self.cc.kit.http) as send:
                    while True:
                        await send(message(line, drain))
                        pause = self.pause
                        line = await take.receive()
            except trio.EndOfChannel:
                return
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, ApplianceError) as error:
                self._tell(drain, f"{_reason(error)}. The next attempt is in {pause:g} s.")
                await trio.sleep(pause)
                pause = min(2 * pause, PAUSE_MOST)

    def _tell(self, drain: Drain, why: str) -> None:
        """Let the app's developers know; the URL may hold a secret and is not shown."""
        self.cc.log(drain.app_guid, f"Syslog drain: {why}", source=OURS)


@asynccontextmanager
async def connected(drain: Drain, client: Client) -> AsyncIterator[Send]:
    """A way to *drain*; what is sent raises when it is not taken."""
    scheme, host, port = drain.target()
    if scheme == "https":
        yield _posting(drain.url, client)
        return
    # Names below localhost are loopback, whatever the resolver says.
    address = "127.0.0.1" if host.endswith(".localhost") else host
    with trio.fail_after(CONNECT):
        stream = await trio.open_tcp_stream(address, port)
    async with stream:
        if scheme == "syslog":
            yield _writing(stream, stream.socket)
            return
        # Reading all authorities takes a while.
        context = await trio.to_thread.run_sync(ssl.create_default_context)
        async with trio.SSLStream(stream, context, server_hostname=host) as secure:
            with trio.fail_after(CONNECT):
                await secure.do_handshake()
            yield _writing(secure, stream.socket)


def _reason(error: BaseException) -> str:
    if isinstance(error, trio.TooSlowError):
        return "it did not answer in time"
    return (str(error.__cause__ or error) or type(error).__name__).rstrip(".")


def _posting(url: str, client: Client) -> Send:
    async def send(data: bytes) -> None:
        headers = {"Content-Type": "text/plain"}
        answer = await client.request("POST", url, content=data, headers=headers, timeout=TAKE)
        if not answer.ok:
            raise BadAnswer(f"The drain answered with status {answer.status}.", answer.status)

    return send


def _writing(stream: trio.abc.SendStream, connection: trio.socket.SocketType) -> Send:
    async def send(data: bytes) -> None:
        # Who has hung up would take the first line after that, and nobody would know.
        if connection.is_readable() and not await connection.recv(1, socket.MSG_PEEK):
            raise trio.BrokenResourceError("The drain has closed the connection.")
        with trio.fail_after(TAKE):
            await stream.send_all(framed(data))

    return send
