"""The bus on a real NATS server: nats-py on an asyncio loop of its own, in one thread.

nats-py is imported when it is chosen, in that thread.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from appliance.kernel.bus import MAX_PAYLOAD, BusClosed
from appliance.kernel.bus.backoff import next_try
from appliance.kernel.bus.login import NatsLogin
from appliance.kernel.bus.nats_carrier import Carrier
from appliance.kernel.bus.remote import RemoteBus
from appliance.kernel.bus.thread_link import INBOXES, Report, Subscribe, ThreadLink
from appliance.kernel.clock import Ids

if TYPE_CHECKING:
    from nats.aio.client import Server


CONNECT_TIMEOUT = 5.0  # seconds until the first connection is given up
RECONNECT_WAIT = 0.2  # seconds between the attempts of a client that never was connected
PING_INTERVAL = 5  # seconds; a server that hangs is noticed when three are unanswered
PENDING_SIZE = 16 * 1024 * 1024  # bytes that nats-py keeps for the server during an outage
CLOSE_TIMEOUT = 2.0  # seconds to send the rest when closing, to receive the rest, and to hang up


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
        self._carrier = Carrier(self._fail)
        self._urls = urls
        self._login = login
        # It costs a moment; when a server asks for TLS unexpectedly, nats-py makes its own.
        secure = login.ca or login.cert or any(url.startswith("tls://") for url in urls)
        self._tls = login.ssl_context() if secure else None
        self._name = name
        self._timeout = timeout
        self._luck = Ids().fraction
        self._loop = asyncio.new_event_loop()
        self._why = ""  # the latest error's words
        self._closing = asyncio.Event()
        self._refused = asyncio.Event()  # by the only server there is, which will not change
        self._tasks: set[asyncio.Task[None]] = set()
        self._bug: BaseException | None = None  # what ended one of them

    @property
    def max_payload(self) -> int:
        """The server's limit, or ours when that is lower."""
        client = self._carrier.client
        return min(MAX_PAYLOAD, client.max_payload) if client else MAX_PAYLOAD

    @property
    def connected(self) -> bool:
        """Whether the server is within reach."""
        client = self._carrier.client
        return client is not None and client.is_connected

    @property
    def lost(self) -> int:
        """Messages dropped since there was no server to send them to."""
        return self._carrier.lost

    def wake(self) -> None:
        """There are jobs; from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody is there to be woken
            self._loop.call_soon_threadsafe(self._carrier.awake)

    def close_soon(self) -> None:
        """`Close` is among the jobs; it shall not wait for ever behind the others."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._closing.set)

    def run(self, link: ThreadLink) -> None:
        """Connect, carry jobs until `Close`, and close; in a thread of its own."""
        self._link = self._carrier.link = link
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        try:
            if not await self._open():
                return  # whoever opened the bus was cancelled meanwhile
            self._link.ready()
            carrier = self._start(self._carrier.carry())
            self._start(self._carrier.answer_probes())
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
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._fail(bug)

    def _fail(self, bug: BaseException) -> None:
        """Something of ours is wrong: end, and let it show."""
        self._bug = bug
        self._closing.set()

    # Connecting.

    async def _open(self) -> bool:
        """Connect for the first time, or give up with a sentence; False when closed meanwhile."""
        from nats.errors import Error

        connecting = asyncio.ensure_future(self._connect())
        ends = {asyncio.ensure_future(one.wait()) for one in (self._closing, self._refused)}
        await asyncio.wait(
            {connecting, *ends}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
        )
        given_up = not connecting.done()
        for waiting in (connecting, *ends):
            waiting.cancel()
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
        assert self._carrier.client is not None
        self.inbox = self._carrier.client.new_inbox() + "."
        await self._carrier.subscribe(Subscribe(INBOXES, self.inbox + "*", ""))
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
        self._carrier.client = client

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
        with suppress(Error):  # closed again: the next one takes over
            await self._carrier.subscribe_again()
            await self._on_reconnected()

    async def _on_error(self, error: Exception) -> None:
        # A server that refuses somebody also hangs up, which says less.
        if not (self._why and isinstance(error, ConnectionError)):
            self._why = str(error)
        if len(self._urls) == 1 and _final(error):
            self._refused.set()

    async def _on_disconnected(self) -> None:
        self._carrier.cut_off()
        if not self._closing.is_set():
            self._link.tell("bus.disconnected", self._why or "The NATS server is out of reach.")

    async def _on_reconnected(self) -> None:
        self._why = ""
        self._link.tell("bus.reconnected", f"{self._link.lost} messages were lost so far.")

    async def _on_closed(self) -> None:
        if not self._closing.is_set():
            self._start(self._connect_again())

    # Closing.

    async def _shut(self) -> None:
        """Receive what is under way, then close; each within `CLOSE_TIMEOUT`.

        Not by nats-py's own ``drain()``: with a server that hangs, it takes 10 s more
        after it was cancelled.
        """
        for task in self._tasks:
            task.cancel()
        client = self._carrier.client
        if client is None:
            return
        if client.is_connected:
            live = self._carrier.live.values()
            await _within(*(subscription.drain() for subscription in live))  # type: ignore[no-untyped-call]
        if not await _within(client.close()):
            # What is still to be sent keeps the socket open, and there is no public way to it.
            writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
            if writer is not None:
                writer.transport.abort()
                await asyncio.sleep(0)


def _final(error: Exception) -> bool:
    """Whether trying again would be of no use: the login is wrong, or the server is not ours."""
    from nats.errors import SecureConnWantedError

    untrusted = isinstance(error, ssl.SSLCertVerificationError | SecureConnWantedError)
    return untrusted or "authorization violation" in str(error).lower()


async def _within(*work: Coroutine[Any, Any, None]) -> bool:
    """Do *work* side by side; whether it was done within `CLOSE_TIMEOUT`. Errors are no news."""
    task = asyncio.ensure_future(asyncio.gather(*work, return_exceptions=True))
    await asyncio.wait({task}, timeout=CLOSE_TIMEOUT)
    return task.done() or not task.cancel()
