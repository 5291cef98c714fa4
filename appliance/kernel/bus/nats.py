"""The bus on a real NATS server: nats-py on an asyncio loop of its own, in one thread.

nats-py is imported when it is chosen, in that thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from appliance.kernel.bus import MAX_PAYLOAD, BusClosed, Message
from appliance.kernel.bus.backoff import next_try
from appliance.kernel.bus.login import NatsLogin
from appliance.kernel.bus.remote import RemoteBus
from appliance.kernel.bus.thread_link import (
    INBOXES,
    Arrival,
    Close,
    Job,
    Probe,
    Report,
    Subscribe,
    ThreadLink,
    Unsubscribe,
)
from appliance.kernel.bus.wire_headers import NO_RESPONDERS, WireHeaders
from appliance.kernel.clock import Ids

if TYPE_CHECKING:
    from nats.aio.client import Server
    from nats.aio.subscription import Subscription

    from appliance.kernel.bus.nats_client import BatchClient

CONNECT_TIMEOUT = 5.0  # seconds until the first connection is given up
RECONNECT_WAIT = 0.2  # seconds between the attempts of a client that never was connected
PING_INTERVAL = 5  # seconds; a server that hangs is noticed when three are unanswered
PENDING_SIZE = 16 * 1024 * 1024  # bytes that nats-py keeps for the server during an outage
CLOSE_TIMEOUT = 2.0  # seconds to send the rest when closing, to receive the rest, and to hang up
_NOBODY = NO_RESPONDERS.rstrip()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
AT_ONCE = 4  # batches that are sent before anything else of the thread gets its turn
FLUSH_TIMEOUT = 600  # seconds; see `NatsConnection._round_trip`


def _silent(_what: str, _why: str) -> None:
    pass


@asynccontextmanager
async def open_nats_bus(
    urls: Sequence[str],
    *,
    login: NatsLogin | None = None,
    name: str = "appliance",
    timeout: float = CONNECT_TIMEOUT,
    report: Report = _silent,
) -> AsyncIterator[RemoteBus]:
    """A `Bus` on the NATS servers at *urls*, drained and closed when the context is left.

    Args:
      urls: ``nats://[user:password@]host:port`` or ``tls://…``, of one cluster.
      login: How to log in, when the addresses do not say it; and TLS.
      name: How the server shows this connection.
      timeout: Seconds until the first connection is given up. Later ones never are.
      report: Called on trio's thread with ``bus.disconnected`` or ``bus.reconnected``,
        and a sentence.

    Raises:
      ConfigError: a file of *login* cannot be used.
      BusClosed: none of the servers answers, or they refuse us.
    """
    login = (login or NatsLogin()).with_urls(urls)

    def told(what: str, why: str) -> None:
        report(what, why)
        if what == "bus.reconnected":
            bus.came_back()

    link = ThreadLink(NatsConnection(list(urls), login, name, timeout), told)
    bus = RemoteBus(link)
    try:
        await link.start(bus.deliver, bus.finish)
        yield bus
    finally:
        await bus.aclose()
        link.check()


class NatsConnection:
    """nats-py, kept connected for ever; everything but the plain attributes is asyncio's.

    nats-py itself comes back from any broken connection. When the server refused
    something (``-ERR``), it closes for good instead: then a new client takes over and
    subscribes again.
    """

    def __init__(self, urls: list[str], login: NatsLogin, name: str, timeout: float) -> None:
        self.inbox = ""
        self.lost = 0  # messages dropped since there was no server to send them to
        self._urls = urls
        self._login = login
        # It costs a moment; when a server asks for TLS unexpectedly, nats-py makes its own.
        secure = login.ca or login.cert or any(url.startswith("tls://") for url in urls)
        self._tls = login.ssl_context() if secure else None
        self._name = name
        self._timeout = timeout
        self._luck = Ids().fraction
        self._loop = asyncio.new_event_loop()
        self._client: BatchClient | None = None
        self._wanted: dict[int, Subscribe] = {}
        self._live: dict[int, Subscription] = {}
        self._why = ""  # the latest error's words
        self._woken = asyncio.Event()
        self._idle = False  # the carrier waits to be woken
        self._left: list[Job] = []  # jobs that were taken, and are the carrier's to do
        self._closing = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._probes: list[Probe] = []
        self._probes_wanted = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bug: BaseException | None = None  # what ended one of them

    @property
    def max_payload(self) -> int:
        """The server's limit, or ours when that is lower."""
        return min(MAX_PAYLOAD, self._client.max_payload) if self._client else MAX_PAYLOAD

    @property
    def connected(self) -> bool:
        """Whether the server is within reach."""
        return self._client is not None and self._client.is_connected

    def wake(self) -> None:
        """There are jobs; from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody is there to be woken
            self._loop.call_soon_threadsafe(self._awake)

    def close_soon(self) -> None:
        """`Close` is among the jobs; it shall not wait for ever behind the others."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._closing.set)

    def run(self, link: ThreadLink) -> None:
        """Connect, carry jobs until `Close`, and close; in a thread of its own."""
        self._link = link
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        try:
            if not await self._open():
                return  # whoever opened the bus was cancelled meanwhile
            self._link.ready()
            carrier = self._start(self._carry())
            self._start(self._answer_probes())
            await self._closing.wait()
            await asyncio.wait({carrier}, timeout=0 if self._bug else CLOSE_TIMEOUT)
        finally:
            self._closing.set()
            await self._shut()
        if self._bug is not None:
            raise self._bug

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._bug = task.exception()
            self._closing.set()

    # Connecting.

    async def _open(self) -> bool:
        """Connect for the first time, or give up with a sentence; False when closed meanwhile."""
        from nats.errors import Error

        connecting = asyncio.ensure_future(self._connect())
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait(
            {connecting, closing}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
        )
        given_up = not connecting.done()
        closing.cancel()
        connecting.cancel()
        try:
            await connecting
        except asyncio.CancelledError:
            if self._closing.is_set():
                return False
        except (Error, OSError) as error:
            self._why = str(error)
            given_up = True
        if given_up:
            hosts = ", ".join(urlsplit(url).netloc.rpartition("@")[2] for url in self._urls)
            raise BusClosed(
                f"No NATS server took us at {hosts}{f' ({self._why})' if self._why else ''}.",
                hint="Is it running, and are the address and the password right?",
            )
        assert self._client is not None
        self.inbox = self._client.new_inbox() + "."
        await self._subscribe(Subscribe(INBOXES, self.inbox + "*", ""))
        return True

    async def _connect(self) -> None:
        """Connect a new client, however long it takes."""
        from appliance.kernel.bus.nats_client import BatchClient

        client = BatchClient()
        login = self._login
        try:
            await client.connect(
                servers=self._urls,
                user=login.user or None,
                password=login.password if login.user else None,
                token=login.token or None,
                nkeys_seed=str(login.nkey) if login.nkey else None,
                user_credentials=str(login.creds) if login.creds else None,
                tls=self._tls,
                tls_hostname=login.tls_name or None,
                name=self._name,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_closed,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type] # any number will do
                reconnect_to_server_handler=self._next_server,
                ping_interval=PING_INTERVAL,
                pending_size=PENDING_SIZE,
            )
        except asyncio.CancelledError:
            await client.close()
            raise
        self._client = client

    def _next_server(self, pool: list[Server], _info: object) -> tuple[Server, float]:
        """Where to come back, and after how long; there is no last attempt."""
        place, wait = next_try([server.reconnects for server in pool], self._luck())
        return pool[place], wait

    async def _connect_again(self) -> None:
        """Take over from a client that the server has shut out.

        Until then the old one stays: what is published goes nowhere and is counted,
        what is subscribed is noted.
        """
        from nats.errors import Error

        await asyncio.sleep(RECONNECT_WAIT)
        await self._connect()
        self._live.clear()
        with suppress(Error):  # closed again: the next one takes over
            for job in list(self._wanted.values()):
                if job.number in self._wanted:
                    await self._subscribe(job)
            await self._on_reconnected()

    async def _on_error(self, error: Exception) -> None:
        # A server that refuses somebody also hangs up, which says less.
        if not (self._why and isinstance(error, ConnectionError)):
            self._why = str(error)

    async def _on_disconnected(self) -> None:
        self._disconnected.set()
        self._disconnected = asyncio.Event()
        if not self._closing.is_set():
            self._link.tell("bus.disconnected", self._why or "The NATS server is out of reach.")

    async def _on_reconnected(self) -> None:
        self._why = ""
        self._link.tell("bus.reconnected", f"{self._link.lost} messages were lost so far.")

    async def _on_closed(self) -> None:
        if not self._closing.is_set():
            self._start(self._connect_again())

    # Carrying.

    def _awake(self) -> None:
        """Send what waits at once, if that is all there is to do; else wake the carrier.

        A message alone is on its way before any task has had to be switched to.
        """
        try:
            if self._idle and self._client is not None:
                for _ in range(AT_ONCE):
                    jobs = self._link.take_jobs()
                    if not jobs:
                        return
                    frames = [job for job in jobs if type(job) is bytes]
                    if len(frames) < len(jobs) or not self._client.write_now(frames):
                        self._left = jobs
                        break
        except BaseException as error:
            self._bug = error
            self._closing.set()
        self._woken.set()

    async def _carry(self) -> None:
        """Do the jobs in their order, until `Close`."""
        from nats.errors import Error

        while True:
            jobs = self._left or self._link.take_jobs()
            self._left = []
            if not jobs:
                self._idle = True
                await self._woken.wait()
                self._idle = False
                self._woken.clear()
            frames: list[bytes] = []
            for job in jobs:
                if type(job) is bytes:
                    frames.append(job)
                    continue
                await self._write(frames)
                frames = []
                if isinstance(job, Close):
                    return
                with suppress(Error):  # an outage; what is wanted is noted
                    await self._do(job)
            await self._write(frames)
            # nats-py sends from a task of its own, which has to get its turn.
            await asyncio.sleep(0)

    async def _write(self, frames: list[bytes]) -> None:
        from nats.errors import Error

        assert self._client is not None
        if frames:
            try:
                self.lost += await self._client.write(frames)
            except Error:  # the client is closed
                self.lost += len(frames)

    async def _do(self, job: Job) -> None:
        if isinstance(job, Subscribe):
            await self._subscribe(job)
        elif isinstance(job, Unsubscribe):
            self._wanted.pop(job.number, None)
            subscription = self._live.pop(job.number, None)
            if subscription is not None:
                await subscription.unsubscribe()
        elif isinstance(job, Probe):
            self._probes.append(job)
            self._probes_wanted.set()

    async def _subscribe(self, job: Subscribe) -> None:
        self._wanted[job.number] = job
        assert self._client is not None
        arrived, number = self._link.arrived, job.number

        def taker(subject: str, reply: str, data: bytes, block: bytes) -> None:
            headers = WireHeaders(block) if block else _NO_HEADERS
            nobody = number == INBOXES and not data and block.startswith(_NOBODY)
            size = len(data) + len(block)
            arrived(Arrival(number, Message(subject, data, reply, headers), size, nobody))

        subscription = await self._client.take(job.pattern, job.queue, taker)
        if number in self._wanted:
            self._live[number] = subscription
        else:  # given up meanwhile
            await subscription.unsubscribe()

    # Flushing and closing.

    async def _answer_probes(self) -> None:
        """One round trip for all probes that came since the last one."""
        while True:
            await self._probes_wanted.wait()
            self._probes_wanted.clear()
            probes, self._probes = self._probes, []
            while not await self._round_trip():  # noqa: ASYNC110 (it fails in more ways than one)
                await asyncio.sleep(RECONNECT_WAIT / 4)
            for probe in probes:
                self._link.arrived(Arrival(INBOXES, Message(probe.inbox, b""), 0))

    async def _round_trip(self) -> bool:
        """Whether the server has answered a ping that was sent after all that came before.

        nats-py sends a ping at once, ahead of what it has still to send: that has to be
        gone first. And a flush must never time out, nor be cancelled while the
        connection lives: the pong would find its future cancelled, and the exception
        would end nats-py's reading.
        """
        client, disconnected = self._client, self._disconnected
        assert client is not None
        await asyncio.sleep(0)
        while client.is_connected and client.pending_data_size:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.001)
        if not client.is_connected:
            return False
        pong = asyncio.ensure_future(client.flush(FLUSH_TIMEOUT))
        gone = asyncio.ensure_future(disconnected.wait())
        await asyncio.wait({pong, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        pong.cancel()
        return pong.done() and not pong.cancelled() and pong.exception() is None

    async def _shut(self) -> None:
        """Receive what is under way, then close; each within `CLOSE_TIMEOUT`.

        Not by nats-py's own ``drain()``: with a server that hangs, it takes 10 s more
        after it was cancelled.
        """
        for task in self._tasks:
            task.cancel()
        client = self._client
        if client is None:
            return
        if client.is_connected:
            live = self._live.values()
            await _within(*(subscription.drain() for subscription in live))  # type: ignore[no-untyped-call]
        if not await _within(client.close()):
            # What is still to be sent keeps the socket open, and there is no public way to it.
            writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
            if writer is not None:
                writer.transport.abort()
                await asyncio.sleep(0)


async def _within(*work: Coroutine[Any, Any, None]) -> bool:
    """Do *work* side by side; whether it was done within `CLOSE_TIMEOUT`. Errors are no news."""
    task = asyncio.ensure_future(asyncio.gather(*work, return_exceptions=True))
    await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)
    return task.done() or not task.cancel()
