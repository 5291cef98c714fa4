"""Where messages wait for a task: many in a `Mailbox`, the one answer in an `Answer`.

Both belong to one trio run. Putting never waits; what does not fit is dropped and
counted, or ends the subscription, as NATS does with slow consumers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import outcome
import trio

from appliance.kernel.bus import QUEUE_BYTES, QUEUE_MESSAGES, BusClosed, Message


class Mailbox:
    """A bounded queue of messages; the `Subscription` of every bus.

    Several tasks may receive from it: each message goes to one of them.
    """

    __slots__ = (
        "_bytes",
        "_closed",
        "_closes",
        "_max_bytes",
        "_max_messages",
        "_queue",
        "_waiting",
        "dropped",
    )

    def __init__(
        self,
        *,
        max_messages: int = QUEUE_MESSAGES,
        max_bytes: int = QUEUE_BYTES,
        closes: bool = False,
    ) -> None:
        """Bounds, and whether it *closes* at the first message that does not fit."""
        self.dropped = 0  # messages that found the queue full
        self._closes = closes
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._bytes = 0
        self._queue: deque[tuple[Message, int]] = deque()
        self._waiting: dict[trio.lowlevel.Task, None] = {}  # in order of arrival
        self._closed = False

    def put(self, message: Message, size: int) -> None:
        """Hand *message* (*size* bytes) to a waiting task, or queue it, or drop and count it."""
        if self._waiting:
            # Straight into the task's hands: it cannot be cancelled any more at this point,
            # so the message cannot get lost between here and there.
            task = next(iter(self._waiting))
            del self._waiting[task]
            trio.lowlevel.reschedule(task, outcome.Value(message))
        elif self._closed:
            return
        elif len(self._queue) < self._max_messages and self._bytes + size <= self._max_bytes:
            self._queue.append((message, size))
            self._bytes += size
        else:
            self.dropped += 1
            if self._closes:
                self.finish()

    @property
    def load(self) -> int:
        """How busy its tasks look: 0 when one waits, else 1 and one more per queued message."""
        return 0 if self._waiting else 1 + len(self._queue)

    def finish(self) -> None:
        """Take no more messages; iteration ends after those that are queued."""
        self._closed = True
        for task in self._waiting:
            trio.lowlevel.reschedule(task, outcome.Value(None))
        self._waiting.clear()

    def discard(self) -> None:
        """End at once, and forget what is queued."""
        self._queue.clear()
        self._bytes = 0
        self.finish()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        if self._queue:
            await trio.lowlevel.checkpoint()
            # Another task may have taken it meanwhile. No await between taking and
            # returning: a cancellation there would lose the message.
            if self._queue:
                message, size = self._queue.popleft()
                self._bytes -= size
                return message
        if not self._closed:
            task = trio.lowlevel.current_task()
            waiting = self._waiting
            waiting[task] = None

            def abort(_: object) -> trio.lowlevel.Abort:
                del waiting[task]
                return trio.lowlevel.Abort.SUCCEEDED

            handed: Message | None = await trio.lowlevel.wait_task_rescheduled(abort)
            if handed is not None:
                return handed
        else:
            await trio.lowlevel.checkpoint()
        raise StopAsyncIteration

    async def receive(self) -> Message:
        """The next message; `BusClosed` when there will be none."""
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise BusClosed("The subscription has ended: no more messages will come.") from None


class Answer:
    """The one answer that a request waits for; the first one counts."""

    __slots__ = ("_result", "_task")

    def __init__(self) -> None:
        self._result: outcome.Outcome[Message] | None = None
        self._task: trio.lowlevel.Task | None = None

    def put(self, message: Message, size: int) -> None:  # noqa: ARG002 (as Mailbox.put)
        """Take *message* as the answer, unless there is one."""
        self._settle(outcome.Value(message))

    def fail(self, error: Exception) -> None:
        """Let the requester see *error*, unless there is an answer."""
        self._settle(outcome.Error(error))

    def _settle(self, result: outcome.Outcome[Message]) -> None:
        if self._result is None:
            self._result = result
            if self._task is not None:
                trio.lowlevel.reschedule(self._task, result)
                self._task = None

    async def wait(self) -> Message:
        """The answer. One task may wait, once."""
        if self._result is not None:
            await trio.lowlevel.checkpoint()
            return self._result.unwrap()
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        message: Message = await trio.lowlevel.wait_task_rescheduled(abort)
        return message
