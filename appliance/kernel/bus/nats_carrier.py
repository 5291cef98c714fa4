"""Carries jobs to a NATS client and messages back; everything here is asyncio's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from appliance.kernel.bus import Message
from appliance.kernel.bus.thread_link import (
    INBOXES,
    Arrival,
    Close,
    Job,
    Probe,
    Subscribe,
    ThreadLink,
    Unsubscribe,
)
from appliance.kernel.bus.wire_headers import NO_RESPONDERS, WireHeaders

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

    from appliance.kernel.bus.nats_client import BatchClient

AT_ONCE = 4  # batches that are sent before anything else of the thread gets its turn
PROBE_AGAIN = 0.05  # seconds before a server that is out of reach is probed again
FLUSH_TIMEOUT = 600  # seconds; see `Carrier._round_trip`

_NOBODY = NO_RESPONDERS.rstrip()
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Carrier:
    """What goes on between a `ThreadLink` and the client of the moment.

    Args:
      fail: Called with a bug that shows where no task is to end with it.
    """

    link: ThreadLink

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self.client: BatchClient | None = None
        self.lost = 0  # messages dropped since there was no server to send them to
        self.wanted: dict[int, Subscribe] = {}  # by their numbers, also while there is no server
        self.live: dict[int, Subscription] = {}  # the client's own, by the same numbers
        self._fail = fail
        self._woken = asyncio.Event()
        self._idle = False  # `carry` waits to be woken
        self._left: list[Job] = []  # jobs that were taken, and are for `carry` to do
        self._disconnected = asyncio.Event()
        self._probes: list[Probe] = []
        self._probes_wanted = asyncio.Event()

    def awake(self) -> None:
        """Send what waits at once, if that is all there is to do; else wake `carry`.

        A message alone is on its way before any task has had to be switched to.
        """
        try:
            # Once it has been woken, what comes is for it: nothing may overtake.
            if self._idle and not self._woken.is_set() and self.client is not None:
                for _ in range(AT_ONCE):
                    jobs = self.link.take_jobs()
                    if not jobs:
                        return
                    frames = [job for job in jobs if type(job) is bytes]
                    if len(frames) < len(jobs) or not self.client.write_now(frames):
                        self._left = jobs
                        break
        except BaseException as error:
            self._fail(error)
        self._woken.set()

    async def carry(self) -> None:
        """Do the jobs in their order, until `Close`."""
        from nats.errors import Error

        while True:
            jobs = self._left or self.link.take_jobs()
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

        assert self.client is not None
        if frames:
            try:
                self.lost += await self.client.write(frames)
            except Error:  # the client is closed
                self.lost += len(frames)

    async def _do(self, job: Job) -> None:
        if isinstance(job, Subscribe):
            await self.subscribe(job)
        elif isinstance(job, Unsubscribe):
            self.wanted.pop(job.number, None)
            subscription = self.live.pop(job.number, None)
            if subscription is not None:
                await subscription.unsubscribe()
        elif isinstance(job, Probe):
            self._probes.append(job)
            self._probes_wanted.set()

    async def subscribe(self, job: Subscribe) -> None:
        """Begin to hear what *job* wants, and note that it is wanted."""
        self.wanted[job.number] = job
        assert self.client is not None
        arrived, number = self.link.arrived, job.number

        def taker(subject: str, reply: str, data: bytes, block: bytes) -> None:
            headers = WireHeaders(block) if block else _NO_HEADERS
            nobody = number == INBOXES and not data and block.startswith(_NOBODY)
            size = len(data) + len(block)
            arrived(Arrival(number, Message(subject, data, reply, headers), size, nobody))

        subscription = await self.client.take(job.pattern, job.queue, taker)
        if number in self.wanted:
            self.live[number] = subscription
        else:  # given up meanwhile
            await subscription.unsubscribe()

    async def subscribe_again(self) -> None:
        """Let a client that has taken over hear all that is wanted."""
        self.live.clear()
        for job in list(self.wanted.values()):
            if job.number in self.wanted:
                await self.subscribe(job)

    def cut_off(self) -> None:
        """The connection has broken; whoever waits for the server begins anew."""
        self._disconnected.set()
        self._disconnected = asyncio.Event()

    async def answer_probes(self) -> None:
        """One round trip for all probes that came since the last one."""
        while True:
            await self._probes_wanted.wait()
            self._probes_wanted.clear()
            probes, self._probes = self._probes, []
            while not await self._round_trip():  # noqa: ASYNC110 (it fails in more ways than one)
                await asyncio.sleep(PROBE_AGAIN)
            for probe in probes:
                self.link.arrived(Arrival(INBOXES, Message(probe.inbox, b""), 0))

    async def _round_trip(self) -> bool:
        """Whether the server has answered a ping that was sent after all that came before.

        nats-py sends a ping at once, ahead of what it has still to send: that has to be
        gone first. And a flush must never time out, nor be cancelled while the
        connection lives: the pong would find its future cancelled, and the exception
        would end nats-py's reading.
        """
        client, disconnected = self.client, self._disconnected
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
