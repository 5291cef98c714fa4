"""One session in an instance: frames on one side, a program's streams or a socket on the other."""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import trio

from appliance.dea.messages_ssh import (
    CREDIT,
    END,
    ERRORS,
    EXIT,
    INPUT,
    OUTPUT,
    SIGNAL,
    SIZE,
    TAKEN,
    Exit,
    Size,
)
from appliance.kernel.bus.codec import decode, encode
from appliance.kernel.frames import BadFrame, Frames, frame
from appliance.kernel.process.enter import Entered

CHUNK = 32 * 1024  # bytes
LAST_WORDS = 0.5  # seconds that output may still come when the program itself has ended
GOODBYE = 1.0  # seconds for a program to end when its client has gone

Source = trio.abc.ReceiveStream


class Wire:
    """The connection to the ssh room."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._frames = Frames()
        self._ready: deque[tuple[int, bytes]] = deque()
        self._sending = trio.Lock()

    async def send(self, kind: int, payload: bytes = b"") -> None:
        """Send one frame; into the void when the other end has gone, which `receive` tells."""
        async with self._sending:
            with suppress(trio.BrokenResourceError):
                await self._stream.send_all(frame(kind, payload))

    async def receive(self) -> tuple[int, bytes] | None:
        """The next frame; None when the other end has closed, or is gone."""
        while not self._ready:
            try:
                data = await self._stream.receive_some(CHUNK)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._ready.extend(self._frames.feed(data))
        return self._ready.popleft()


@dataclass(frozen=True, kw_only=True)
class Streams:
    """The side of the instance."""

    write: Callable[[bytes], Awaitable[None]]
    end: Callable[[], Awaitable[None]]  # of what is written
    sources: tuple[tuple[Source, int], ...]  # and the kind of the frames from it
    hang_up: Callable[[], Awaitable[None]]  # the client has gone, and hears nothing any more
    aclose: Callable[[], Awaitable[None]]
    program: Entered | None = None

    @classmethod
    def of_program(cls, entered: Entered) -> Streams:
        """The three streams of a program, or its terminal."""
        child, terminal = entered.child, entered.terminal
        if terminal is not None:

            async def nothing() -> None:
                """A terminal has no end; who has the keyboard presses Control-D."""

            return cls(
                write=terminal.send_all,
                end=nothing,
                sources=((terminal, OUTPUT),),
                hang_up=terminal.aclose,
                aclose=entered.aclose,
                program=entered,
            )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        return cls(
            write=child.stdin.send_all,
            end=child.stdin.aclose,
            sources=((child.stdout, OUTPUT), (child.stderr, ERRORS)),
            hang_up=child.stdin.aclose,
            aclose=entered.aclose,
            program=entered,
        )

    @classmethod
    def of_connection(cls, socket: trio.SocketStream) -> Streams:
        """Both ways of a socket."""
        return cls(
            write=socket.send_all,
            end=socket.send_eof,
            sources=((socket, OUTPUT),),
            hang_up=socket.aclose,
            aclose=socket.aclose,
        )


async def attend(wire: Wire, streams: Streams) -> None:
    """Pass on everything until the program has ended, or the ssh room has gone."""
    inlet = Inlet(streams)
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            await _listen(wire, streams, inlet)
            # The client has gone. What it has sent is still passed on; most programs end by
            # themselves then, and have something to put in order.
            inlet.hand(b"")
            with trio.move_on_after(GOODBYE):
                await inlet.over.wait()
            await streams.hang_up()
            if streams.program is not None:
                with trio.move_on_after(GOODBYE):
                    await streams.program.child.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        nursery.start_soon(inlet.pump, wire)
        outlets = [Outlet(source, kind) for source, kind in streams.sources]
        async with trio.open_nursery() as speaking:
            for outlet in outlets:
                speaking.start_soon(outlet.pump, wire)
            if streams.program is not None:
                await streams.program.child.wait()
                for outlet in outlets:
                    outlet.hurry()
        if streams.program is None:
            await wire.send(END)
            await trio.sleep_forever()  # until the ssh room closes, which may still send
        await wire.send(EXIT, encode(exit_of(streams.program.child.returncode or 0)))
        nursery.cancel_scope.cancel()


class Outlet:
    """Passes on what one source says."""

    def __init__(self, source: Source, kind: int) -> None:
        self._source = source
        self._kind = kind
        self._reading = trio.CancelScope()
        self._patience = math.inf  # seconds

    def hurry(self) -> None:
        """The program has ended; others may hold its output open, and say nothing."""
        self._patience = LAST_WORDS
        self._reading.deadline = trio.current_time() + LAST_WORDS

    async def pump(self, wire: Wire) -> None:
        """Pass on until the end, however slowly the other side takes it."""
        while True:
            with trio.move_on_after(self._patience) as self._reading:
                try:
                    chunk = await self._source.receive_some(CHUNK)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return  # how a terminal ends, or what has been hung up
                if not chunk:
                    return
            if self._reading.cancelled_caught:
                return
            await wire.send(self._kind, bytes(chunk))


class Inlet:
    """Passes input on, apart from who receives it: else nobody would hear that a client is gone."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._waiting = 0  # bytes
        self._to_write, self._given = trio.open_memory_channel[bytes](math.inf)
        self.over = trio.Event()  # all has been passed on

    def hand(self, data: bytes) -> None:
        """Take *data*; b"" is the end of all input.

        Raises:
          BadFrame: nobody has given credit for so much.
        """
        self._waiting += len(data)
        if self._waiting > CREDIT:
            raise BadFrame(f"More than {CREDIT} bytes of input are waiting.")
        self._to_write.send_nowait(data)

    async def pump(self, wire: Wire) -> None:
        """Pass on, and tell how much has been."""
        reads = True
        async for data in self._given:
            try:
                if not data:
                    await self._streams.end()
                elif reads:
                    await self._streams.write(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                reads = False  # that is its right
            if not data:
                break
            self._waiting -= len(data)
            await wire.send(TAKEN, str(len(data)).encode())
        self.over.set()


async def _listen(wire: Wire, streams: Streams, inlet: Inlet) -> None:
    """Do what the ssh room says, until it closes the connection."""
    while got := await wire.receive():
        kind, payload = got
        if kind == INPUT and payload:
            inlet.hand(payload)
        elif kind == END:
            inlet.hand(b"")
        elif kind == SIZE and streams.program is not None:
            size = decode(payload, Size)
            streams.program.resize(size.columns & 0xFFFF, size.rows & 0xFFFF)
        elif kind == SIGNAL and streams.program is not None:
            name = payload.decode("ascii", "replace")
            with suppress(KeyError):
                streams.program.child.send_signal(signal.Signals[f"SIG{name}"])


def exit_of(returncode: int) -> Exit:
    """How a program has ended, in the words of ssh."""
    if returncode >= 0:
        return Exit(status=returncode)
    try:
        return Exit(signal=signal.Signals(-returncode).name.removeprefix("SIG"))
    except ValueError:  # a real-time signal has no name
        return Exit(status=128 - returncode)
