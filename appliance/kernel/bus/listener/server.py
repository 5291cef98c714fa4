"""Sockets and tasks of the NATS wire listener.

One task reads per connection. What a batch of its commands puts into other connections'
queues is sent at the end of that batch, straight from there; what rooms publish is sent
by one task for all. Only a full socket gets a task of its own.
"""

from __future__ import annotations

import resource
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count

import trio

from appliance.kernel.bus.listener.hub import Hub, Report
from appliance.kernel.bus.listener.options import Options
from appliance.kernel.bus.listener.session import Session
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.clock import Ids
from appliance.kernel.http.sockets import listen

RECEIVE = 64 * 1024  # bytes taken from a socket at once
GRACE = 1.0  # seconds to send a client the last bytes
LINGER = 0.25  # seconds for it to hang up, too
TICKS = 4  # how often the shortest deadline is looked at
SPARE_FILES = 256  # descriptors that connections leave to everything else
ACCEPT_AGAIN = 0.1  # seconds after accept() has failed, which happens without free descriptors
FULL = b"-ERR 'maximum connections exceeded'\r\n"


def _silent(_what: str, **_data: object) -> None:
    pass


@asynccontextmanager
async def open_listener(
    bus: LocalBus,
    bind: str,
    options: Options | None = None,
    *,
    ids: Ids | None = None,
    report: Report = _silent,
) -> AsyncIterator[Listener]:
    """NATS clients at *bind* take part in *bus* while the context is open.

    Args:
      bind: ``host:port`` (port 0 takes a free one) or ``fd://N``; see `sockets.listen`.
      report: Called with ``client.connected``, ``client.disconnected`` or
        ``client.failed``, and what there is to say.

    Raises:
      PortTaken: somebody else listens there.
    """
    sockets = listen(bind)
    listener = Listener(bus, sockets, options or Options(), ids or Ids(), report)
    try:
        async with trio.open_nursery() as listener.connections:
            async with trio.open_nursery() as background:
                for opened in sockets:
                    background.start_soon(listener.accept, opened)
                background.start_soon(listener.flush_for_rooms)
                background.start_soon(listener.tick)
                try:
                    yield listener
                finally:
                    background.cancel_scope.cancel()
            # Clients come back at once: they shall be refused, not wait for nobody.
            for opened in sockets:
                opened.close()
            listener.stop()
    finally:
        for opened in sockets:
            opened.close()


class Listener:
    """A running listener: its `hub` for those who want to look, its `url` for clients."""

    connections: trio.Nursery

    def __init__(
        self,
        bus: LocalBus,
        sockets: list[socket.socket],
        options: Options,
        ids: Ids,
        report: Report,
    ) -> None:
        host, port = sockets[0].getsockname()[:2]
        self.hub = Hub(
            bus=bus,
            options=options,
            server_id="N" + ids.hex(55).upper(),
            host=host,
            port=port,
            report=report,
            wake=self._wake,
        )
        self.url = f"nats://[{host}]:{port}" if ":" in host else f"nats://{host}:{port}"
        self._carriers: dict[Session, Carrier] = {}
        self._numbers = count(1)
        self._most = min(options.max_connections, _descriptors())
        self._busy = False  # a batch of commands is being carried out, and flushed afterwards
        self._asleep: trio.lowlevel.Task | None = None  # the task that flushes for rooms

    @property
    def open(self) -> int:
        """Sockets of clients, those included that only get their last words."""
        return len(self._carriers)

    def stop(self) -> None:
        """End all clients."""
        for session in list(self.hub.sessions.values()):
            session.end("The server stops.")
        self.flush()

    async def accept(self, listening: socket.socket) -> None:
        """Take clients, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(listening)
            # Several at a time: a thousand clients at once shall not cost a thousand rounds.
            for _ in range(64):
                try:
                    accepted, address = listening.accept()
                except BlockingIOError:
                    break
                except OSError:
                    await trio.sleep(ACCEPT_AGAIN)
                    break
                accepted.setblocking(False)
                if self.open >= self._most:
                    with accepted, suppress(OSError):
                        accepted.send(FULL)
                    continue
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                session = Session(self.hub, next(self._numbers), address[:2], trio.current_time())
                carrier = self._carriers[session] = Carrier(self, accepted, session)
                self.connections.start_soon(carrier.run)

    def forget(self, session: Session) -> None:
        """The carrier of *session* has ended."""
        del self._carriers[session]
        self.hub.dirty.pop(session, None)

    # Sending.

    def _wake(self) -> None:
        if self._asleep is not None and not self._busy:
            trio.lowlevel.reschedule(self._asleep)
            self._asleep = None

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Carry out commands in the block, and send what comes of them."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the sockets take it."""
        dirty = self.hub.dirty
        now = trio.current_time()
        while dirty:
            session, _ = dirty.popitem()
            carrier = self._carriers.get(session)
            if carrier is not None:
                carrier.push(now)

    async def flush_for_rooms(self) -> None:
        """Send what tasks of this process have published, until cancelled."""
        while True:
            if self.hub.dirty:
                self.flush()
            self._asleep = trio.lowlevel.current_task()

            def abort(_: object) -> trio.lowlevel.Abort:
                self._asleep = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)

    async def tick(self) -> None:
        """Let the sessions see the time go by, until cancelled."""
        options = self.hub.options
        every = min(options.auth_timeout, options.write_deadline, options.ping_interval) / TICKS
        while True:
            await trio.sleep(every)
            now = trio.current_time()
            for session in list(self.hub.sessions.values()):
                session.tick(now)
            self.flush()


class Carrier:
    """Carries bytes between one socket and its `Session`."""

    def __init__(self, listener: Listener, connected: socket.socket, session: Session) -> None:
        self._listener = listener
        self._socket = connected
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
                await self._read()
            session.end("The client has hung up.")
            await self._hang_up()
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
        with trio.move_on_after(GRACE):
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


def _descriptors() -> int:
    """How many connections the process has files for."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, (soft - SPARE_FILES) // 2) if soft != resource.RLIM_INFINITY else 1 << 20
