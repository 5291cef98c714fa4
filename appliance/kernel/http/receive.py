"""Receiving a body: one worker thread reads the socket, hashes and writes, to the end.

No chunk crosses a thread boundary and no event loop is in the path, so this costs
what the kernel's copies and the digests cost. The thread looks for cancellation at
least four times a second and after every megabyte.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h11
import trio

from appliance.kernel.errors import BadRequest, TooLarge
from appliance.kernel.http.errors import ClientGone, TooSlow
from appliance.kernel.http.multipart import BadForm, Part, PartEnd, parts
from appliance.kernel.http.sink import FileSink, Spooled

__all__ = ["Body", "FileSink", "Form", "Spooled", "check_length", "skip", "spool", "spool_form"]

BUFFER = 1024 * 1024  # bytes; 64 KiB costs 22 %, 4 MiB costs 16 % (caches)
POLL = 250  # ms between two looks for cancellation
SLOW_WINDOW = 20.0  # seconds in which a body must make SLOW_BYTES of progress
SLOW_BYTES = 20 * 1024
MAX_FIELDS = 1024 * 1024  # bytes of all plain form fields together


@dataclass(frozen=True, slots=True)
class Form:
    """A received multipart form. Plain fields are in memory, files are spooled."""

    fields: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, Spooled] = field(default_factory=dict)

    def discard(self) -> None:
        """Remove the files that are still there."""
        for spooled in self.files.values():
            spooled.path.unlink(missing_ok=True)


class Body:
    """The body of one message on a non-blocking socket, read by a worker thread.

    Args:
      early: Bytes of it that were read together with the head.
      length: Its length; None when *framing* (or the end of the connection) tells.
      framing: An h11 connection that has seen the head, for chunked bodies.
      now: Monotonic seconds.
    """

    def __init__(
        self,
        sock: socket.socket,
        early: bytes,
        length: int | None,
        framing: h11.Connection | None,
        now: Callable[[], float],
    ) -> None:
        self._socket = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._early = memoryview(early)
        self._left = length
        self._framing = framing
        self._now = now
        self._window_at, self._window_bytes = now(), 0
        self.length = length
        self.rest = b""  # what came after the body: the next request
        self.done = length == 0

    @property
    def left(self) -> int | None:
        """Bytes that are still to be read; None when only the end will tell."""
        return self._left

    def read_into(self, view: memoryview) -> int:
        """Fill *view*, or as much of it as the body still has; 0 at its end.

        Raises:
          ClientGone: the connection ended before the body did.
          TooSlow: less than 20 KiB in 20 seconds.
          BadRequest: the chunks are malformed.
        """
        if self.done:
            return 0
        if self._framing is not None:
            return self._read_framed(view)
        assert self._left is not None
        wanted = min(len(view), self._left)
        got = min(wanted, len(self._early))
        if got:
            view[:got] = self._early[:got]
            self._early = self._early[got:]
        while got < wanted:
            count = self._receive(view[got:wanted])
            if not count:
                raise ClientGone("The connection ended inside the body.")
            got += count
        self._left -= got
        if not self._left:
            self.done, self.rest = True, bytes(self._early)
        return got

    def _read_framed(self, view: memoryview) -> int:
        assert self._framing is not None
        scratch = memoryview(bytearray(64 * 1024))
        got, ended = 0, False
        while got < len(view) and not self.done:
            if self._early:
                count = min(len(view) - got, len(self._early))
                view[got : got + count] = self._early[:count]
                self._early = self._early[count:]
                got += count
                continue
            try:
                event = self._framing.next_event()
            except h11.RemoteProtocolError as error:
                if ended:
                    raise ClientGone("The connection ended inside the body.") from error
                raise BadRequest(f"The body's chunks are malformed: {error}.") from error
            if event is h11.NEED_DATA:
                count = self._receive(scratch)
                ended = not count  # which is how an answer without a length ends
                self._framing.receive_data(bytes(scratch[:count]))
            elif isinstance(event, h11.Data):
                self._early = memoryview(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.done, self.rest = True, self._framing.trailing_data[0]
            else:
                raise ClientGone("The connection ended inside the body.")
        return got

    def _receive(self, view: memoryview) -> int:
        """Bytes from the socket; 0 when the other side has ended the connection."""
        while True:
            try:
                count = self._socket.recv_into(view)
            except BlockingIOError:
                self._wait()
                continue
            except OSError as error:
                raise ClientGone("The connection broke inside the body.") from error
            self._window_bytes += count
            return count

    def _wait(self) -> None:
        before = self._now()
        while not self._poll.poll(POLL):
            trio.from_thread.check_cancelled()
            self._check_pace()
        # Only time spent waiting for the client counts against it, not our slow disk.
        if self._now() - before < 0.001:
            return
        self._check_pace()

    def _check_pace(self) -> None:
        now = self._now()
        if now - self._window_at < SLOW_WINDOW:
            return
        if self._window_bytes < SLOW_BYTES:
            raise TooSlow(f"Less than {SLOW_BYTES} bytes arrived in {SLOW_WINDOW:g} seconds.")
        self._window_at, self._window_bytes = now, 0


def spool(body: Body, folder: Path, *, limit: int, fsync: bool) -> Spooled:
    """Receive *body* into a new file in *folder*; nothing is left there on failure.

    Raises:
      TooLarge: more than *limit* bytes, known at once when the length is.
      OSError: the file could not be written.
    """
    check_length(body.length, limit)
    buffer = memoryview(bytearray(min(BUFFER, body.length or BUFFER)))
    sink = FileSink(folder, length=body.length, fsync=fsync)
    try:
        while count := body.read_into(buffer):
            trio.from_thread.check_cancelled()
            sink.write(buffer[:count])
            check_length(sink.size, limit)
        return sink.finish()
    except BaseException:
        sink.discard()
        raise


def spool_form(body: Body, boundary: bytes, folder: Path, *, limit: int, fsync: bool) -> Form:
    """Receive a multipart *body*; its files are spooled in *folder*. See `spool`.

    Raises:
      BadForm: the form is malformed, or has two parts of one name.
    """
    check_length(body.length, limit)
    form = Form()
    sink: FileSink | None = None
    text = bytearray()
    part: Part | None = None
    total = in_fields = 0

    def read_into(view: memoryview) -> int:
        nonlocal total
        trio.from_thread.check_cancelled()
        count = body.read_into(view)
        total += count
        check_length(total, limit)
        return count

    try:
        for event in parts(read_into, boundary):
            if isinstance(event, memoryview):
                if sink is not None:
                    sink.write(event)
                else:
                    in_fields += len(event)
                    check_length(in_fields, MAX_FIELDS)
                    text += event
            elif isinstance(event, Part):
                part = event
                if part.name in form.fields or part.name in form.files:
                    raise BadForm(f"The form has two parts {part.name!r}.")
                text = bytearray()
                if part.filename is not None:
                    sink = FileSink(folder, length=None, fsync=fsync)
            else:
                assert isinstance(event, PartEnd)
                assert part is not None
                if sink is not None:
                    form.files[part.name] = sink.finish(part.filename or "")
                    sink = None
                else:
                    form.fields[part.name] = bytes(text)
        skip(body)
    except BaseException:
        if sink is not None:
            sink.discard()
        form.discard()
        raise
    return form


def skip(body: Body, limit: int = BUFFER) -> None:
    """Read and forget what is left of *body*, at most *limit* bytes of it."""
    buffer = memoryview(bytearray(64 * 1024))
    skipped = 0
    while skipped <= limit and (count := body.read_into(buffer)):
        skipped += count


def check_length(length: int | None, limit: int) -> None:
    """Raise `TooLarge` when *length* is known and above *limit*."""
    if length is not None and length > limit:
        raise TooLarge(f"The body is larger than the limit of {limit} bytes.")
