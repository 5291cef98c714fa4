"""The blob plane: large bodies go between socket and file, past the web framework.

A `Blob` route takes the socket over for one request. GET answers with sendfile,
uploads are received by one worker thread (`receive`). Everything else on the same
port, and on the same kept-alive connection, still goes to the control API.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import h11
import msgspec
import trio

from appliance.kernel.errors import BadRequest, NotFound
from appliance.kernel.http import ranges
from appliance.kernel.http.errors import ClientGone, TooSlow
from appliance.kernel.http.multipart import boundary_of
from appliance.kernel.http.receive import Body, Form, check_length, spool, spool_form
from appliance.kernel.http.sink import Spooled

if TYPE_CHECKING:
    from appliance.kernel.clock import Clock

__all__ = ["Blob", "Exchange", "Form", "Spooled"]

SENDFILE_PIECE = 4 * 1024 * 1024  # bytes; a fast reader would otherwise never yield
READ_PIECE = 256 * 1024  # bytes, where there is no sendfile
WRITE_SECONDS = 30.0  # a client that takes nothing for this long is given up
DRAIN_BYTES = 64 * 1024 * 1024  # of an upload that was answered early
DRAIN_SECONDS = 10.0
LINGER_SECONDS = 2.0  # for the last answer to arrive before the connection closes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Blob:
    """One route of the blob plane.

    In *path*, ``:name`` stands for one segment and a final ``*name`` for all that
    follow. A GET route serves HEAD too.
    """

    method: str
    path: str
    handler: Callable[[Exchange], Awaitable[None]]


class Routes:
    """Which `Blob` takes a request; matched on the raw path, before any decoding."""

    def __init__(self, blobs: Sequence[Blob]) -> None:
        self._routes = [(blob, _compile(blob.path)) for blob in blobs]

    def find(self, method: str, raw_path: bytes) -> tuple[Blob, dict[str, str]] | None:
        """The route and its decoded parameters, or None."""
        for blob, pattern in self._routes:
            if method != blob.method and not (method == "HEAD" and blob.method == "GET"):
                continue
            if (found := pattern.fullmatch(raw_path)) is None:
                continue
            params = _decode(found.groupdict())
            if params is not None:
                return blob, params
        return None

    def methods(self, raw_path: bytes) -> list[str]:
        """The methods that *raw_path* has, for a 405."""
        return sorted(
            {
                blob.method
                for blob, pattern in self._routes
                if (found := pattern.fullmatch(raw_path)) and _decode(found.groupdict()) is not None
            }
        )


def _compile(path: str) -> re.Pattern[bytes]:
    def expand(found: re.Match[str]) -> str:
        return f"(?P<{found[2]}>{'[^/]+' if found[1] == ':' else '.*'})"

    return re.compile(re.sub(r"([:*])([A-Za-z_][A-Za-z0-9_]*)", expand, path).encode())


def _decode(raw: Mapping[str, bytes]) -> dict[str, str] | None:
    """Each parameter as text; None when one is no UTF-8, or hides what a name must not have."""
    params = {}
    for name, value in raw.items():
        try:
            text = unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            return None
        # An escaped slash would make two segments of one; the gate has refused "..".
        if not text.isprintable() or text.count("/") != value.count(b"/") or text in (".", ".."):
            return None
        params[name] = text
    return params


@dataclass(eq=False)
class Exchange:
    """One request on a taken-over socket, and its answer. Made by the server only."""

    method: str
    path: str  # raw, without the query
    params: dict[str, str]
    query: dict[str, str]
    headers: Mapping[str, str]  # lower-case names
    url: str  # scheme and host, as the client sees them
    clock: Clock
    limiter: trio.CapacityLimiter  # transfers have threads of their own
    _stream: trio.SocketStream
    _framing: h11.Connection
    _early: bytes
    _old: bool  # HTTP/1.0
    status: int = 0  # of the answer; 0 while there is none
    answer_headers: dict[str, str] = field(default_factory=dict)  # added to every answer
    close: bool = False  # the connection cannot be used again
    _body: Body | None = None
    _socket: socket.socket | None = None
    _continued: bool = False

    # The request's body.

    async def receive_file(self, folder: Path, *, limit: int, fsync: bool = False) -> Spooled:
        """The raw body as a new file in *folder*, which the caller then owns.

        Raises:
          TooLarge: more than *limit* bytes; before reading any when the length says so.
          ClientGone, TooSlow: the body did not arrive; nothing is left in *folder*.
          OSError: the file could not be written; nothing is left in *folder*.
        """
        return await self._receive(
            lambda body: spool(body, folder, limit=limit, fsync=fsync), limit
        )

    async def receive_form(self, folder: Path, *, limit: int, fsync: bool = False) -> Form:
        """The multipart body: files spooled in *folder*, plain fields in memory.

        Raises as `receive_file`, and `BadForm` for a form that breaks a rule.
        """
        boundary = boundary_of(self.headers.get("content-type", ""))
        return await self._receive(
            lambda body: spool_form(body, boundary, folder, limit=limit, fsync=fsync), limit
        )

    async def receive_bytes(self, limit: int) -> bytes:
        """The raw body in memory. Raises as `receive_file`."""

        def collect(body: Body) -> bytes:
            check_length(body.length, limit)
            size = min(64 * 1024, body.length) if body.length is not None else 64 * 1024
            buffer, collected = memoryview(bytearray(size or 1)), bytearray()
            while count := body.read_into(buffer):
                collected += buffer[:count]
                check_length(len(collected), limit)
            return bytes(collected)

        return await self._receive(collect, limit)

    async def _receive(self, take: Callable[[Body], T], limit: int) -> T:
        body = self.body
        check_length(body.length, limit)
        await self._invite()
        return await trio.to_thread.run_sync(take, body, limiter=self.limiter)

    @property
    def body(self) -> Body:
        """The body as a worker thread reads it; all readers share its position."""
        if self._body is None:
            chunked = "transfer-encoding" in self.headers
            length = None if chunked else int(self.headers.get("content-length", "0"))
            early = b"" if chunked else self._early
            # A descriptor of its own: the stream may be closed while the thread reads.
            self._socket = socket.socket(fileno=os.dup(self._stream.socket.fileno()))
            self._body = Body(
                self._socket,
                early,
                length,
                self._framing if chunked else None,
                self.clock.monotonic,
            )
            if length == 0:
                self._body.rest = self._early
        return self._body

    async def _invite(self) -> None:
        """Answer ``Expect: 100-continue``, once, and only when the body is wanted."""
        if "expect" in self.headers and not self._continued and not self.status:
            self._continued = True
            await self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # The answer.

    async def reply(
        self,
        status: int,
        body: bytes | str | object = b"",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = "",
    ) -> None:
        """Answer with *body*: bytes as they are, text as text/plain, the rest as JSON."""
        if isinstance(body, str):
            data, kind = body.encode(), "text/plain; charset=utf-8"
        elif isinstance(body, bytes):
            data, kind = body, "application/octet-stream"
        else:
            data, kind = msgspec.json.encode(body), "application/json"
        named = dict(headers or {})
        if data and not any(name.lower() == "content-type" for name in named):
            named["Content-Type"] = content_type or kind
        head = self._head(status, named, None if status in (204, 304) else len(data))
        await self._write(head + (b"" if self.method == "HEAD" else data))

    async def send_file(
        self,
        path: Path,
        *,
        content_type: str = "application/octet-stream",
        etag: str = "",
        headers: Mapping[str, str] | None = None,
        check: Callable[[IO[bytes]], None] | None = None,
    ) -> None:
        """Answer with the file at *path*: Range, If-Range, If-None-Match and HEAD are served.

        Args:
          etag: Unquoted; for content that is addressed by its digest, the digest.
          check: Reads the whole file in a worker thread while it is sent, and raises when the
            bytes are not the right ones. The last byte waits for it: a reader of wrong bytes
            gets a broken connection, and never a complete answer.

        Raises:
          NotFound: there is no such file; nothing was sent.
          Exception: what *check* raised; the connection is closed.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound("There is no such file.") from None
        try:
            size = os.fstat(fd).st_size
            part = ranges.select(self.headers, size, etag)
            named = {"Accept-Ranges": "bytes"} | dict(headers or {})
            if etag:
                named["ETag"] = f'"{etag}"'
            if part.status == 206:
                last = part.offset + part.count - 1
                named["Content-Range"] = f"bytes {part.offset}-{last}/{size}"
            elif part.status == 416:
                named["Content-Range"] = f"bytes */{size}"
            if part.status in (200, 206):
                named["Content-Type"] = content_type
            await self._write(
                self._head(part.status, named, None if part.status == 304 else part.count),
                more=part.count > 0 and self.method != "HEAD",
            )
            if self.method != "HEAD" and part.count:
                if check is None:
                    await self._sendfile(fd, part.offset, part.count)
                else:
                    await self._send_checked(fd, part, check)
        finally:
            os.close(fd)

    async def _send_checked(
        self, fd: int, part: ranges.Selection, check: Callable[[IO[bytes]], None]
    ) -> None:
        failures: list[Exception] = []

        def read() -> None:
            # sendfile is given its offsets, so that both may use the one descriptor.
            with open(fd, "rb", buffering=0, closefd=False) as file:
                check(file)

        async def examine() -> None:
            try:
                await trio.to_thread.run_sync(read, limiter=self.limiter)
            except Exception as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(examine)
            try:
                await self._sendfile(fd, part.offset, part.count - 1)
            except (ClientGone, TooSlow) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        await self._sendfile(fd, part.offset + part.count - 1, 1)

    def _head(self, status: int, headers: Mapping[str, str], length: int | None) -> bytes:
        if self.status:
            raise RuntimeError(f"{self.method} {self.path} was answered twice")
        self.status = status
        # What is left of a refused upload is only worth reading when it is not much.
        left = self._unread()
        if self._old or "close" in _tokens(self.headers.get("connection", "")):
            self.close = True
        if left is None or left > DRAIN_BYTES or (left and self._uninvited()):
            self.close = True
        lines = {"Date": formatdate(usegmt=True)} | self.answer_headers | dict(headers)
        if length is not None:
            lines["Content-Length"] = str(length)
        if self.close:
            lines["Connection"] = "close"
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        if text.count("\n") != len(lines) or text.count("\r") != len(lines):
            raise RuntimeError("a header of an answer has a line end in it")
        head = f"HTTP/1.1 {status} {_reason(status)}\r\n{text}\r\n"
        return head.encode("latin-1", "replace")

    def _unread(self) -> int | None:
        """How many bytes of the body are still to come; None when only the end will tell."""
        body = self.body
        if body.done:
            return 0
        return body.left

    def _uninvited(self) -> bool:
        return "expect" in self.headers and not self._continued

    async def _write(self, data: bytes, *, more: bool = False) -> None:
        if more:
            self._cork(True)
        try:
            with trio.fail_after(WRITE_SECONDS):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            self.close = True
            raise TooSlow("The client does not take its answer.") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close = True
            raise ClientGone("The client left before its answer.") from error

    async def _sendfile(self, fd: int, offset: int, count: int) -> None:
        if not hasattr(os, "sendfile"):
            await self._send_pieces(fd, offset, count)
            return
        out = self._stream.socket.fileno()
        end = offset + count
        try:
            while offset < end:
                try:
                    sent = os.sendfile(out, fd, offset, min(end - offset, SENDFILE_PIECE))
                except BlockingIOError:
                    with trio.fail_after(WRITE_SECONDS):
                        await trio.lowlevel.wait_writable(out)
                    continue
                if not sent:
                    raise ClientGone("The file shrank while it was sent.")
                offset += sent
                await trio.lowlevel.checkpoint()
            self._cork(False)
        except trio.TooSlowError:
            raise TooSlow("The client does not take its answer.") from None
        except OSError as error:
            raise ClientGone("The client left before the end of its answer.") from error
        finally:
            if offset < end:
                self.close = True

    async def _send_pieces(self, fd: int, offset: int, count: int) -> None:
        """What sendfile does, where the system has none of Linux's kind."""
        end = offset + count
        try:
            while offset < end:
                piece = await trio.to_thread.run_sync(
                    os.pread, fd, min(end - offset, READ_PIECE), offset, limiter=self.limiter
                )
                if not piece:
                    raise ClientGone("The file shrank while it was sent.")
                await self._write(piece)
                offset += len(piece)
        finally:
            if offset < end:
                self.close = True

    def _cork(self, on: bool) -> None:
        """Let the head wait for the file's first bytes, so that both leave together."""
        if hasattr(socket, "TCP_CORK"):
            self._stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(on))

    # The end.

    async def finish(self) -> bytes:
        """Read what is left of the body, within bounds; the bytes of the next request.

        A client that still sends while its connection is closed would lose its answer.
        """
        try:
            if self.close:
                await linger(self._stream)
                return b""
            if not self.body.done:
                with trio.move_on_after(DRAIN_SECONDS) as patience:
                    await trio.to_thread.run_sync(_drain, self.body, limiter=self.limiter)
                if patience.cancelled_caught or not self.body.done:
                    self.close = True
                    await linger(self._stream)
            return self.body.rest
        except (ClientGone, TooSlow, BadRequest):
            self.close = True
            return b""
        finally:
            if self._socket is not None:
                self._socket.close()

    def release(self) -> None:
        """Close the thread's own descriptor; for exchanges that end in an exception."""
        if self._socket is not None:
            self._socket.close()


def _drain(body: Body) -> None:
    buffer, drained = memoryview(bytearray(256 * 1024)), 0
    while drained < DRAIN_BYTES and (count := body.read_into(buffer)):
        trio.from_thread.check_cancelled()
        drained += count


async def linger(stream: trio.SocketStream) -> None:
    """Say that nothing more comes and read what still arrives, so that the answer is not lost.

    Closing with unread bytes resets the connection, and a reset can overtake the answer.
    """
    discarded = 0
    try:
        await stream.send_eof()
        with trio.move_on_after(LINGER_SECONDS):
            while discarded < DRAIN_BYTES and (data := await stream.receive_some(256 * 1024)):
                discarded += len(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
        pass  # gone already


def make_exchange(
    request: h11.Request,
    params: dict[str, str],
    stream: trio.SocketStream,
    framing: h11.Connection,
    *,
    clock: Clock,
    limiter: trio.CapacityLimiter,
) -> Exchange:
    """The exchange for *request*, whose head *framing* has just parsed."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    target = target_path(request.target)
    path, _, query = target.partition(b"?")
    host = headers.get("host") or "{}:{}".format(*stream.socket.getsockname()[:2])
    return Exchange(
        method=request.method.decode("ascii").upper(),
        path=path.decode("ascii"),
        params=params,
        query=dict(parse_qsl(query.decode("ascii"), keep_blank_values=True)),
        headers=headers,
        url=f"http://{host}",
        clock=clock,
        limiter=limiter,
        _stream=stream,
        _framing=framing,
        _early=framing.trailing_data[0],
        _old=request.http_version < b"1.1",
    )


def target_path(target: bytes) -> bytes:
    """Path and query of a request target; the gate has compared an absolute one with Host."""
    if target.startswith((b"/", b"*")):
        return target
    split = urlsplit(target)
    return (split.path or b"/") + (b"?" + split.query if split.query else b"")


def _tokens(value: str) -> list[str]:
    return [token.strip().lower() for token in value.split(",")]


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
