"""A download past the client's pool: from the socket to the file in one worker thread.

Droplets, packages and bits come from our own rooms over plain HTTP; this is about three
times as fast as the general client, which handles every piece on the event loop.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h11
import trio

from appliance.kernel.errors import BadRequest, TooLarge
from appliance.kernel.http.errors import BadAnswer, ClientGone, HttpFailed, TooSlow
from appliance.kernel.http.receive import Body, spool
from appliance.kernel.http.sink import Spooled

MAX_HEAD = 64 * 1024  # bytes
MAX_TOLD = 2000  # bytes of an error answer that are read


@dataclass(frozen=True, slots=True)
class Moved:
    """The answer was a redirect."""

    location: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch:
    """What to get, and where to put it."""

    host: str
    port: int
    target: str  # path and query
    headers: Mapping[str, str]  # Host included
    folder: Path
    limit: int  # bytes
    fsync: bool
    connect: float  # seconds until a connection must stand

    @property
    def origin(self) -> str:
        """``host:port``, for sentences."""
        return f"{self.host}:{self.port}"


async def fetch(
    wanted: Fetch, limiter: trio.CapacityLimiter, now: Callable[[], float]
) -> Spooled | Moved:
    """GET over plain HTTP into a new file; nothing is left of it on failure.

    Raises:
      OSError: no connection.
      HttpFailed: the answer is malformed, breaks off, or comes too slowly.
      BadAnswer: the status is neither 2xx nor a redirect.
      TooLarge: more than the limit.
    """
    try:
        with trio.fail_after(wanted.connect):
            stream = await trio.open_tcp_stream(wanted.host, wanted.port)
    except trio.TooSlowError:
        reason = f"did not accept a connection within {wanted.connect:g} s"
        raise HttpFailed(f"{wanted.origin} {reason}.") from None
    try:
        framing = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        answer = await _ask(wanted, stream, framing)
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in answer.headers}
        if answer.status_code in (301, 302, 303, 307, 308) and "location" in headers:
            return Moved(headers["location"])
        if not 200 <= answer.status_code < 300:
            told = await _told(stream, framing)
            raise _bad(wanted, answer.status_code, told)
        return await _save(wanted, stream, framing, headers, limiter, now)
    except (trio.BrokenResourceError, h11.RemoteProtocolError, ClientGone) as error:
        raise HttpFailed(f"{wanted.origin} broke off: {_sentence(error)}") from error
    except (TooSlow, BadRequest) as error:
        raise HttpFailed(f"{wanted.origin} cannot be understood: {_sentence(error)}") from error
    finally:
        await trio.aclose_forcefully(stream)


async def _ask(wanted: Fetch, stream: trio.SocketStream, framing: h11.Connection) -> h11.Response:
    headers = [*wanted.headers.items(), ("Connection", "close")]
    request = framing.send(h11.Request(method="GET", target=wanted.target, headers=headers))
    assert request is not None
    framing.send(h11.EndOfMessage())
    await stream.send_all(request)
    while True:
        event = framing.next_event()
        if isinstance(event, h11.Response):
            return event
        if event is h11.NEED_DATA:
            framing.receive_data(await stream.receive_some(64 * 1024))


async def _save(
    wanted: Fetch,
    stream: trio.SocketStream,
    framing: h11.Connection,
    headers: Mapping[str, str],
    limiter: trio.CapacityLimiter,
    now: Callable[[], float],
) -> Spooled:
    sized = "content-length" in headers and "transfer-encoding" not in headers
    length = int(headers["content-length"]) if sized else None
    early = framing.trailing_data[0] if sized else b""
    # A descriptor of its own: the stream may be closed while the thread reads.
    with socket.socket(fileno=os.dup(stream.socket.fileno())) as sock:
        body = Body(sock, early, length, None if sized else framing, now)
        try:
            return await trio.to_thread.run_sync(
                lambda: spool(body, wanted.folder, limit=wanted.limit, fsync=wanted.fsync),
                limiter=limiter,
            )
        except TooLarge:
            raise too_large(f"{wanted.origin}{wanted.target}", wanted.limit) from None


async def _told(stream: trio.SocketStream, framing: h11.Connection) -> bytes:
    told = b""
    while len(told) <= MAX_TOLD:
        event = framing.next_event()
        if isinstance(event, h11.Data):
            told += event.data
        elif event is h11.NEED_DATA:
            framing.receive_data(await stream.receive_some(64 * 1024))
        else:
            break
    return told


def _bad(wanted: Fetch, status: int, told: bytes) -> BadAnswer:
    return bad_answer(f"{wanted.origin}{wanted.target.partition('?')[0]}", status, told)


def bad_answer(what: str, status: int, told: bytes) -> BadAnswer:
    """The error for an answer with *status* and the beginning of its body."""
    text = " ".join(told.decode("utf-8", "replace").split())[:200]
    return BadAnswer(f"{what} answered {status}{f': {text}' if text else ''}.", status)


def too_large(what: str, limit: int) -> TooLarge:
    """The error for a download above its limit."""
    return TooLarge(f"{what} is larger than the limit of {limit} bytes.")


def _sentence(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return text if text.endswith(".") else f"{text}."
