"""Sockets and tasks of the NATS wire listener; each connection has a `Carrier`.

One task reads per connection. What a batch of its commands puts into other connections'
queues is sent at the end of that batch, straight from there; what rooms publish is sent
by one task for all. Only a full socket gets a task of its own.
"""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count

import trio

from appliance.kernel.bus.listener.carrier import Carrier
from appliance.kernel.bus.listener.hub import Hub, Report
from appliance.kernel.bus.listener.options import Options
from appliance.kernel.bus.listener.session import Session
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.clock import Ids
from appliance.kernel.http.sockets import listen

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
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Listener]:
    """NATS clients at *bind* take part in *bus* while the context is open.

    Args:
      bind: ``host:port`` (port 0 takes a free one) or ``fd://N``; see `sockets.listen`.
      report: Called with ``client.connected``, ``client.disconnected`` or
        ``client.failed``, and what there is to say.
      tls: With it every client has to use TLS; see `secure.server_context`.

    Raises:
      PortTaken: somebody else listens there.
    """
    sockets = listen(bind)
    listener = Listener(bus, sockets, options or Options(), ids or Ids(), report, tls)
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
        tls: ssl.SSLContext | None,
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
            tls_required=tls is not None,
            tls_verify=tls is not None and tls.verify_mode is ssl.CERT_REQUIRED,
        )
        scheme = "nats" if tls is None else "tls"
        self.url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        self.tls = tls
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


def _descriptors() -> int:
    """How many connections the process has files for."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, (soft - SPARE_FILES) // 2) if soft != resource.RLIM_INFINITY else 1 << 20
