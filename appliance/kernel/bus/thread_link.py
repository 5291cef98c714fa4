"""The thread in which a connection lives, and the two deques between it and trio.

Whoever appends to a deque wakes the other side unless that was done already, and that
side takes all that has piled up: under load there is one crossing for many messages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import trio

from appliance.kernel.bus import Message

MAX_WAITING = 64 * 1024 * 1024  # bytes that wait for the other thread, each way
BATCH = 500  # messages taken in one go, before the other tasks of that thread run

Report = Callable[[str, str], None]  # what happened ("bus.disconnected"), and why


INBOXES = 0  # number of the subscription that hears all answers


class Subscribe(NamedTuple):
    """Begin to hear what matches *pattern*, under *number*, also after reconnecting."""

    number: int
    pattern: str
    queue: str


class Unsubscribe(NamedTuple):
    """Hear no more under *number*."""

    number: int


class Probe(NamedTuple):
    """Let an empty message arrive on *inbox* once the server has handled all jobs before."""

    inbox: str


class Close(NamedTuple):
    """Send what was published before, hand over what has arrived, and end."""


#: Bytes are a complete PUB or HPUB, ready to be sent: most jobs are, and the cheapest way counts.
Job = bytes | Subscribe | Unsubscribe | Probe | Close


class Arrival(NamedTuple):
    """One message as the link got it."""

    number: int  # of the subscription
    message: Message
    size: int  # bytes of headers and data
    nobody: bool = False  # not a message: the server says that nobody listens


class Connection(Protocol):
    """What lives in the thread. All but `run` is for trio's thread."""

    @property
    def inbox(self) -> str:
        """Prefix of this connection's reply subjects, with a dot at its end."""

    @property
    def max_payload(self) -> int:
        """Bytes of headers and data that the server takes in one message."""

    @property
    def connected(self) -> bool:
        """Whether the server is within reach at the moment."""

    @property
    def lost(self) -> int:
        """Messages dropped since there was no server to send them to."""

    def wake(self) -> None:
        """There are jobs."""

    def close_soon(self) -> None:
        """`Close` is among the jobs; it shall not wait for ever behind the others."""

    def run(self, link: ThreadLink) -> None:
        """Connect, tell `ThreadLink.ready`, do the jobs until `Close`, and return."""


class ThreadLink:
    """The thread and its two deques: what crosses, and nothing of what it means.

    A counter is written by one thread only, so that none of them needs a lock. A flag
    is lowered before its deque is emptied and raised after appending, so that a message
    is never left behind.
    """

    def __init__(self, connection: Connection, report: Report) -> None:
        self._connection = connection
        self._report = report
        self._crash: BaseException | None = None  # a bug that ended the thread
        self._up = trio.Event()
        self._over = trio.Event()
        # Towards the server.
        self._jobs: deque[Job] = deque()
        self._jobs_flag = False
        self._handed = 0  # bytes, by trio
        self._carried = 0  # bytes, by the connection
        self._lost_jobs = 0  # messages, by trio
        # From the server.
        self._arrivals: deque[Arrival] = deque()
        self._arrivals_flag = False
        self._arrived = 0  # bytes, by the connection
        self._delivered = 0  # bytes, by trio
        self._lost_arrivals = 0  # messages, by the connection

    # On trio's thread.

    async def start(
        self, deliver: Callable[[Sequence[Arrival]], None], finish: Callable[[], None]
    ) -> None:
        """Connect; returns once messages can flow.

        Args:
          deliver: Called on trio's thread with what has arrived.
          finish: Called there after the last delivery.
        """
        self._to_bus, self._finish_bus = deliver, finish
        self._trio = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self._thread.start()
        await self._up.wait()
        self.check()

    @property
    def inbox(self) -> str:
        """Prefix of this connection's reply subjects, with a dot at its end."""
        return self._connection.inbox

    @property
    def max_payload(self) -> int:
        """Bytes of headers and data that the server takes; it hangs up on more."""
        return self._connection.max_payload

    @property
    def connected(self) -> bool:
        """Whether the server is within reach at the moment."""
        return self._connection.connected

    @property
    def lost(self) -> int:
        """Messages that were dropped in this process: an outage was too long, or a thread slow."""
        return self._lost_jobs + self._lost_arrivals + self._connection.lost

    def hand(self, job: Job) -> bool:
        """Queue *job*; False when so much waits already that it was dropped and counted."""
        if type(job) is bytes:
            if self._handed - self._carried > MAX_WAITING:
                self._lost_jobs += 1
                return False
            self._handed += len(job)
        self._jobs.append(job)
        if not self._jobs_flag:
            self._jobs_flag = True
            self._connection.wake()
        if isinstance(job, Close):
            self._connection.close_soon()
        return True

    async def ended(self) -> None:
        """Wait until the thread has ended."""
        await self._over.wait()
        self._thread.join()  # it said so with its last breath

    def check(self) -> None:
        """Let what ended the thread show in this one."""
        if self._crash is not None:
            raise self._crash

    def _deliver(self) -> None:
        self._arrivals_flag = False
        batch = [self._arrivals.popleft() for _ in range(min(BATCH, len(self._arrivals)))]
        for arrival in batch:
            self._delivered += arrival.size
        self._to_bus(batch)
        if self._arrivals and not self._arrivals_flag:
            self._arrivals_flag = True
            self._trio.run_sync_soon(self._deliver)

    def _end(self) -> None:
        while self._arrivals:
            self._deliver()
        self._finish_bus()
        self._up.set()
        self._over.set()

    # On the connection's thread.

    def _run(self) -> None:
        try:
            self._connection.run(self)
        except BaseException as error:
            self._crash = error
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(self._end)

    def take_jobs(self) -> list[Job]:
        """Some of the jobs that wait; an empty list means that the next one will wake us."""
        if not self._jobs:
            self._jobs_flag = False
        batch = [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))]
        self._carried += sum([len(job) for job in batch if type(job) is bytes])
        return batch

    def arrived(self, arrival: Arrival) -> None:
        """Hand one message over to trio."""
        if self._arrived - self._delivered > MAX_WAITING:
            self._lost_arrivals += 1
            return
        self._arrived += arrival.size
        self._arrivals.append(arrival)
        if not self._arrivals_flag:
            self._arrivals_flag = True
            with suppress(trio.RunFinishedError):
                self._trio.run_sync_soon(self._deliver)

    def tell(self, what: str, why: str) -> None:
        """Report to the operator."""
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(self._report, what, why)

    def ready(self) -> None:
        """Messages can flow."""
        with suppress(trio.RunFinishedError):
            self._trio.run_sync_soon(self._up.set)
