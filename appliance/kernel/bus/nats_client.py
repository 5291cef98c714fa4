"""nats-py's client with some of its parts in another form; it is imported when it is used.

What is published goes out in whole batches, what comes in goes straight to whoever takes it
(nats-py has a queue and a task for each subscription), and no login is sent over a connection
that should have been encrypted and is not. These are private parts of nats-py: its version is
pinned, and `tests/contract/test_bus.py` holds this client to what the bus promises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError, SecureConnWantedError

from appliance.kernel.bus.nats_parser import BatchParser

MAX_BUFFERED = 64 * 1024  # bytes that the socket has not taken, above which writing has to wait

#: Gets subject, reply subject ("" for none), data and header block (b"" for none).
Taker = Callable[[str, str, bytes, bytes], None]


class BatchClient(Client):
    """A NATS client for one `ThreadLink`."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = BatchParser(self, self._deliver)
        self._takers: dict[int, Taker] = {}  # by the server's number of the subscription

    def write_now(self, frames: Sequence[bytes]) -> bool:
        """Give complete PUBs and HPUBs to the socket; False when something else is to go first."""
        transport = self._transport
        if not self.is_connected or self._pending or not isinstance(transport, TcpTransport):
            return False
        writer = transport._io_writer
        if writer is None or writer.transport.get_write_buffer_size() > MAX_BUFFERED:
            return False
        writer.write(b"".join(frames))
        return True

    async def write(self, frames: Sequence[bytes]) -> int:
        """Send complete PUBs and HPUBs in their order; returns how many of them were dropped.

        During an outage they wait, as far as there is room for them.

        Raises:
          ConnectionClosedError: for good.
        """
        if self.is_closed:
            raise ConnectionClosedError
        room = self._max_pending_size - self._pending_data_size
        dropped = 0
        if not self.is_connected and sum(map(len, frames)) > room:
            kept = []
            for frame in frames:
                if len(frame) > room:
                    dropped += 1
                    continue
                kept.append(frame)
                room -= len(frame)
            frames = kept
        if frames:
            await self._send_command(b"".join(frames))
            if self._flush_queue is not None and self._flush_queue.empty():
                await self._flush_pending()
        return dropped

    async def take(self, pattern: str, queue: str, taker: Taker) -> Any:
        """Subscribe, and let *taker* have the messages; returns nats-py's subscription."""

        async def never(_message: object) -> None:
            raise AssertionError("The taker has had it.")

        number = self._sid + 1  # what nats-py will give it; its messages may come at once
        self._takers[number] = taker
        try:
            return await self.subscribe(pattern, queue, cb=never)
        except BaseException:
            self._takers.pop(number, None)
            raise

    def _deliver(
        self, number: int, subject: bytes, reply: bytes, block: bytes, data: bytes
    ) -> None:
        taker = self._takers.get(number)
        if taker is not None:
            # Other clients may have published anything, and an error here would end the reading.
            taker(subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace"), data, block)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self._deliver(sid, subject, reply, headers or b"", data)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._takers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        server = self._current_server
        secure = server is not None and server.uri.scheme == "tls"
        if initial_connection and secure and not info.get("tls_required"):
            raise SecureConnWantedError
        await super()._process_info(info, initial_connection)
