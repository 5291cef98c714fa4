"""A connection to the DEA that has the instance, on asyncio's side."""

from __future__ import annotations

import asyncio
from collections import deque

from appliance.dea.messages_ssh import BEGUN, REFUSED, WANT, SessionPlace, Wanted
from appliance.kernel.bus.codec import encode
from appliance.kernel.frames import LONGEST, BadFrame, Frames, frame
from appliance.ssh.gate import Refused

CHUNK = 64 * 1024  # bytes
BEGIN_SECONDS = 20.0  # for a program or a connection to begin


class Wire:
    """Frames to and from the DEA. Get one from `Wire.open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Frames()
        self._ready: deque[tuple[int, bytes]] = deque()

    @classmethod
    async def open(cls, place: SessionPlace, wanted: Wanted) -> Wire:
        """Begin what is *wanted*.

        Raises:
          Refused: the DEA does not answer, or says no.
        """
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                wire = cls(*await asyncio.open_connection(place.host, place.port))
                try:
                    await wire._begin(encode(wanted))
                except BaseException:
                    wire.close()
                    raise
                return wire
        except (OSError, TimeoutError) as error:
            raise Refused("The instance cannot be reached.") from error

    async def _begin(self, wanted: bytes) -> None:
        if len(wanted) > LONGEST:
            raise Refused("This command is too long.")
        self.send(WANT, wanted)
        kind, payload = await self.receive() or (REFUSED, b"The instance has ended.")
        if kind == REFUSED:
            raise Refused(payload.decode("utf-8", "replace"))
        assert kind == BEGUN

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send one frame. The DEA always reads, and credit bounds what piles up."""
        if not self._writer.is_closing():
            self._writer.write(frame(kind, payload))

    async def receive(self) -> tuple[int, bytes] | None:
        """The next frame; None when the DEA has closed."""
        while not self._ready:
            try:
                data = await self._reader.read(CHUNK)
                self._ready.extend(self._frames.feed(data))
            except (OSError, BadFrame):
                return None
            if not data:
                return None
        return self._ready.popleft()

    def close(self) -> None:
        """Close the connection, which ends what it was for."""
        self._writer.close()
