"""One body in one direction, from wire to wire, framed as it should be; never held whole."""

from __future__ import annotations

from collections.abc import Callable

import trio

from appliance.router.chunks import LAST_CHUNK, ChunkReader, chunk
from appliance.router.refusals import Refused
from appliance.router.watch import Limit
from appliance.router.wire import Wire

BUFFER = 256 * 1024  # bytes copied at a time; more of it gains little, less costs much
CHUNKS = 128 * 1024  # bytes of a chunked body read at a time
SPARE_BUFFERS = 16  # kept for the next bodies

_spare: list[bytearray] = []


class Flow:
    """One direction of one exchange.

    Args:
      limit: Told before each wait.
      patience: Seconds that *source* may be silent, and what is answered then.
      stall: Seconds that *target* may take nothing, and what is answered then.
      finished: Called when the body has been read to its end, before its last write.
    """

    __slots__ = (
        "_finished",
        "_limit",
        "_patience",
        "_source",
        "_stall",
        "_target",
        "begun",
        "count",
    )

    def __init__(
        self,
        source: Wire,
        target: Wire,
        limit: Limit,
        *,
        patience: tuple[float, Refused | None],
        stall: tuple[float, Refused | None],
        finished: Callable[[], None] | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._limit = limit
        self._patience = patience
        self._stall = stall
        self._finished = finished
        self.begun = False  # something was sent on
        self.count = 0  # bytes of the body that were sent on

    async def exactly(self, head: bytes, length: int) -> None:
        """Send *head*, then *length* bytes of the source."""
        early = self._source.take(length)
        left = length - len(early)
        if not left:
            self._end()
        if head or early:
            await self._send(head + early if early else head)
        self.count += len(early)
        if not left:
            return
        buffer = _spare.pop() if _spare else bytearray(BUFFER)
        view = memoryview(buffer)
        try:
            while left:
                self._limit.within(*self._patience)
                got = await self._source.receive_into(view[:left] if left < BUFFER else view)
                if not got:
                    raise self._source.lost("The connection ended in the middle of a body.")
                left -= got
                if not left:
                    self._end()
                await self._send(view[:got])
                self.count += got
                await trio.lowlevel.checkpoint()
        finally:
            if len(_spare) < SPARE_BUFFERS:
                _spare.append(buffer)

    async def chunks(self, head: bytes, *, chunked: bool) -> None:
        """Send *head*, then the chunked body of the source, as chunks or plain.

        Raises:
          BadChunk: the body breaks a rule; what came before was sent on.
        """
        reader = ChunkReader()
        piece = self._source.take(len(self._source.buffer))
        while True:
            data = reader.feed(piece) if piece else []
            out = head + (chunk(data) if chunked else b"".join(data))
            head = b""
            if reader.done:
                self._source.buffer = reader.rest
                self._end()
                out += LAST_CHUNK if chunked else b""
            if out:
                await self._send(out)
            self.count += sum(map(len, data))
            if reader.done:
                return
            await trio.lowlevel.checkpoint()
            self._limit.within(*self._patience)
            piece = await self._source.receive(CHUNKS)
            if not piece:
                raise self._source.lost("The connection ended in the middle of a chunked body.")

    async def rest(self, head: bytes, *, chunked: bool) -> None:
        """Send *head*, then everything until the source ends, as chunks or plain."""
        piece = self._source.take(len(self._source.buffer))
        while True:
            data = [memoryview(piece)] if piece else []
            out = head + (chunk(data) if chunked else piece)
            head = b""
            if out:
                await self._send(out)
            self.count += len(piece)
            await trio.lowlevel.checkpoint()
            self._limit.within(*self._patience)
            piece = await self._source.receive(CHUNKS)
            if not piece:
                self._end()
                if chunked:
                    await self._send(LAST_CHUNK)
                return

    async def _send(self, data: bytes | memoryview) -> None:
        self._limit.within(*self._stall)
        self.begun = True
        await self._target.send(data)

    def _end(self) -> None:
        if self._finished is not None:
            self._finished()
