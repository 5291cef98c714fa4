"""The channels of a client: between its SSH library and the connection to the DEA."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import asyncssh
from msgspec.structs import replace

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
    Wanted,
)
from appliance.kernel.bus.codec import decode, encode
from appliance.kernel.errors import ApplianceError
from appliance.ssh.wire import Wire

PAUSE = CREDIT // 2  # bytes on their way; a client that sends more waits
FAILED = 255  # exit status of what could not be begun, as of OpenSSH's client
MOST_ENVIRONMENT = 100  # variables that one client may set

Channel = asyncssh.SSHServerChannel[bytes] | asyncssh.SSHTCPChannel[bytes]


class Passage:
    """What both kinds of channel have in common: bytes each way, each side waiting for the other.

    The public methods are for the library to call.
    """

    def __init__(self) -> None:
        self._wire: Wire | None = None
        self._early: list[tuple[int, bytes]] = []  # before there is a wire
        self._on_the_way = 0  # bytes of input that the DEA has not passed on
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._task: asyncio.Task[None] | None = None
        self._input_over = False  # the client sends no more
        self._output_over = False  # nor does the DEA
        self._channel: Channel

    def session_started(self) -> None:
        """All has been requested, and bytes may flow."""
        self._task = asyncio.get_running_loop().create_task(self._attend())

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Pass input on, as far as there is credit."""
        self._on_the_way += len(data)
        self._send(INPUT, data)
        if self._on_the_way >= PAUSE:
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        """There is no more input; where there is no more output either, the channel is over."""
        self._input_over = True
        self._send(END)
        return not self._output_over

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, or the whole connection gone: all that it was for ends."""
        if self._task is not None:
            self._task.cancel()
        if self._wire is not None:
            self._wire.close()

    def pause_writing(self) -> None:
        """The client does not keep pace."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._may_write.set()

    def _send(self, kind: int, payload: bytes = b"") -> None:
        if self._wire is None:
            self._early.append((kind, payload))
        else:
            self._wire.send(kind, payload)

    def _begin(self, wire: Wire) -> None:
        self._wire = wire
        for kind, payload in self._early:
            wire.send(kind, payload)
        self._early.clear()

    async def _attend(self) -> None:
        with suppress(OSError):  # the client has gone, and the library is about to say so
            await self._run()

    async def _run(self) -> None:
        """Stay with the channel to its end."""
        raise NotImplementedError

    async def _pump(self, wire: Wire) -> Exit | None:
        """Pass on what the DEA sends; how the program ended, or None."""
        while got := await wire.receive():
            kind, payload = got
            if kind == EXIT:
                return decode(payload, Exit)
            if kind == TAKEN:
                self._on_the_way -= int(payload)
                if self._on_the_way < PAUSE:
                    self._channel.resume_reading()
            elif kind == END:
                self._channel.write_eof()
                self._output_over = True
                if self._input_over:
                    return None
            elif kind in (OUTPUT, ERRORS):
                self._channel.write(
                    payload, asyncssh.EXTENDED_DATA_STDERR if kind == ERRORS else None
                )
                await self._may_write.wait()
        return None


class Session(Passage, asyncssh.SSHServerSession[bytes]):
    """A channel with a program: a command, a shell or a subsystem.

    Args:
      open_wire: Gets a wire from the DEA for what is wanted, with a ticket of its own.
    """

    def __init__(self, open_wire: Callable[[Wanted], Awaitable[Wire]]) -> None:
        super().__init__()
        self._open = open_wire
        self._wanted = Wanted(ticket="")
        self._term = ""
        self._channel: asyncssh.SSHServerChannel[bytes]

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """There is a channel."""
        self._channel = chan

    def pty_requested(
        self,
        term_type: str,
        term_size: tuple[int, int, int, int],
        term_modes: Mapping[int, int],
    ) -> bool:
        """The program is to have a terminal."""
        self._term = term_type
        self._wanted = replace(self._wanted, terminal=_size(*term_size[:2]))
        return True

    def shell_requested(self) -> bool:
        """The program is a shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """The program is a command."""
        self._wanted = replace(self._wanted, command=command)
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """The program is known by a name."""
        self._wanted = replace(self._wanted, subsystem=subsystem, terminal=None)
        return subsystem == "sftp"

    def terminal_size_changed(
        self,
        width: int,
        height: int,
        pixwidth: int,
        pixheight: int,
    ) -> None:
        """The terminal has another size."""
        self._send(SIZE, encode(_size(width, height)))

    def signal_received(self, signal: str) -> None:
        """The program is to get a signal."""
        self._send(SIGNAL, signal.encode("ascii", "replace"))

    async def _run(self) -> None:
        """Begin the program, stay with it, and tell how it has ended."""
        env = dict(list(self._channel.get_environment().items())[:MOST_ENVIRONMENT])
        if self._term:
            env["TERM"] = self._term
        try:
            wire = await self._open(replace(self._wanted, env=env))
        except ApplianceError as error:
            self._channel.write_stderr(f"{error}\r\n".encode())
            self._channel.exit(FAILED)
            return
        self._begin(wire)
        ended = await self._pump(wire)
        wire.close()
        if ended is None:
            self._channel.exit_with_signal("KILL", msg="The instance has ended.")
        elif ended.signal:
            self._channel.exit_with_signal(ended.signal)
        else:
            self._channel.exit(ended.status)


class Forward(Passage, asyncssh.SSHTCPSession[bytes]):
    """A channel with a connection that the instance has made."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._begin(wire)

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """There is a channel."""
        self._channel = chan

    async def _run(self) -> None:
        assert self._wire is not None
        await self._pump(self._wire)
        self._channel.close()


def _size(columns: int, rows: int) -> Size:
    """A client without a terminal says 0."""
    return Size(columns=min(columns, 0xFFFF) or 80, rows=min(rows, 0xFFFF) or 24)
