"""The HTTP client of the whole process: one pool, files streamed from and to disk.

httpx2 is loaded with the first request, since it costs 50 ms and many processes
never need it. Credentials in a URL become a header and are never shown.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import trio

from appliance.kernel.clock import Clock
from appliance.kernel.http.auth import basic_header
from appliance.kernel.http.errors import BadAnswer, HttpFailed, TimedOut, Unreachable
from appliance.kernel.http.fetch import MAX_TOLD, Fetch, Moved, bad_answer, fetch, too_large
from appliance.kernel.http.sink import FileSink, Spooled
from appliance.kernel.trace import SENDER_HEADER, TRACE_HEADER, current_trace

if TYPE_CHECKING:
    import ssl

    import httpx2

CONNECT_SECONDS = 5.0
CONNECTIONS = 100  # of the pool
BATCH = 1024 * 1024  # bytes between two hops into a thread
PIECE = 512 * 1024  # bytes of a file that are read and sent at a time
REDIRECTS = 5
TRANSFERS = 64  # downloads and uploads that have a thread at the same time

#: What only a file can fail with, however it is reported.
_STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, complete in memory."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text; undecodable bytes are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON.

        Raises:
          BadAnswer: it is something else.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise BadAnswer("The answer is not JSON.", self.status) from None


@dataclass
class _Pool:
    """What all named clients share."""

    client: httpx2.AsyncClient | None = None
    limiter: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(TRANSFERS))
    clock: Clock = field(default_factory=Clock)


class Client:
    """Requests, downloads and uploads. One per process; `named` gives each room its own."""

    def __init__(self) -> None:
        self._pool = _Pool()
        self._room = ""

    def named(self, room: str) -> Client:
        """The same pool; requests say that they come from *room*."""
        other = Client()
        other._pool, other._room = self._pool, room
        return other

    async def aclose(self) -> None:
        """Close every connection of the pool, whoever used it."""
        client, self._pool.client = self._pool.client, None
        if client is not None:
            await client.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: object = None,
        content: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        follow_redirects: bool = False,
        limit: int | None = None,
    ) -> Response:
        """Send one request and return the answer, whatever its status.

        Args:
          json: Sent as a JSON body; *content* is sent as it is.
          timeout: Seconds for the whole exchange.
          limit: The most bytes of an answer that is not trusted to be small.

        Raises:
          HttpFailed: no answer; the sentence names host, port and reason.
          Unreachable: not even a connection, so nothing was sent.
          TooLarge: the answer has more than *limit* bytes.
        """
        named = dict(headers or {})
        body = content.encode() if isinstance(content, str) else content
        if json is not None:
            import msgspec

            body = msgspec.json.encode(json)
            named.setdefault("Content-Type", "application/json")
        if limit is not None:
            named.setdefault("Accept-Encoding", "identity")
        with _limit(url, timeout):
            for _ in range(REDIRECTS + 1):
                target = _Target.of(url)
                async with self._open(method, target, named, body) as answer:
                    where = answer.headers.get("location", "")
                    if not (follow_redirects and answer.has_redirect_location):
                        received = await _whole(answer, target, limit)
                        return Response(answer.status_code, _lower(answer), received)
                # As browsers do: a redirected POST becomes a GET, but for 307 and 308.
                if answer.status_code not in (307, 308) and method != "HEAD":
                    method, body = "GET", None
                url, named = _redirected(url, where, named)
        raise HttpFailed(f"{_Target.of(url).origin} redirects without an end.")

    async def download(
        self,
        url: str,
        folder: Path,
        *,
        limit: int,
        timeout: float = 600.0,
        headers: Mapping[str, str] | None = None,
        fsync: bool = False,
    ) -> Spooled:
        """GET *url* into a new file in *folder*, which the caller then owns.

        Redirects are followed; credentials stay with their origin.

        Raises:
          BadAnswer: the answer's status is not 2xx; ``error.status`` tells which.
          TooLarge: more than *limit* bytes; nothing is left in *folder*.
          HttpFailed: no answer, or one that broke off; nothing is left in *folder*.
        """
        named = {"Accept-Encoding": "identity"} | dict(headers or {})
        with _limit(url, timeout):
            for _ in range(REDIRECTS + 1):
                target = _Target.of(url)
                get = self._get_directly if _is_direct(target) else self._get_pooled
                outcome = await get(target, named, folder, limit, fsync)
                if isinstance(outcome, Spooled):
                    return outcome
                url, named = _redirected(url, outcome.location, named)
        raise HttpFailed(f"{_Target.of(url).origin} redirects without an end.")

    async def _get_directly(
        self, target: _Target, headers: Mapping[str, str], folder: Path, limit: int, fsync: bool
    ) -> Spooled | Moved:
        split = urlsplit(target.url)
        wanted = Fetch(
            host=split.hostname or "",
            port=split.port or 80,
            target=urlunsplit(("", "", split.path or "/", split.query, "")),
            headers=self._headers(target, {"Host": split.netloc} | dict(headers)),
            folder=folder,
            limit=limit,
            fsync=fsync,
            connect=CONNECT_SECONDS,
        )
        try:
            return await fetch(wanted, self._pool.limiter, self._pool.clock.monotonic)
        except OSError as error:
            if error.filename is not None or error.errno in _STORAGE:
                raise  # of the file, not of the connection
            raise Unreachable(f"{target.origin} cannot be reached: {_why(error)}.") from None

    async def _get_pooled(
        self, target: _Target, headers: Mapping[str, str], folder: Path, limit: int, fsync: bool
    ) -> Spooled | Moved:
        async with self._open("GET", target, headers, None) as answer:
            if answer.has_redirect_location:
                return Moved(answer.headers["location"])
            return await self._save(answer, target, folder, limit, fsync)

    async def _save(
        self, answer: httpx2.Response, target: _Target, folder: Path, limit: int, fsync: bool
    ) -> Spooled:
        if not 200 <= answer.status_code < 300:
            told = (await answer.aread())[:MAX_TOLD]
            raise bad_answer(str(target), answer.status_code, told)
        announced = int(answer.headers.get("content-length", "-1"))
        if announced > limit:
            raise too_large(str(target), limit)
        length = announced if announced >= 0 else None

        def make() -> FileSink:
            return FileSink(folder, length=length, fsync=fsync)

        sink = await self._thread(make)
        try:
            batch: list[bytes] = []
            waiting = received = 0
            # Closed at once, also when an error leaves it half-way.
            async with aclosing(answer.aiter_raw()) as pieces:
                async for piece in pieces:
                    batch.append(piece)
                    waiting += len(piece)
                    received += len(piece)
                    if received > limit:
                        raise too_large(str(target), limit)
                    if waiting >= BATCH:
                        await self._thread(partial(_write, sink, batch))
                        batch, waiting = [], 0
            await self._thread(partial(_write, sink, batch))
            return await self._thread(sink.finish)
        except BaseException:
            sink.discard()
            raise

    async def upload(
        self,
        method: str,
        url: str,
        path: Path,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 600.0,
    ) -> Response:
        """Send the file at *path* as the raw body; returns the answer, whatever its status.

        Raises:
          HttpFailed: no answer.
        """
        return await self._send(method, url, path, b"", b"", dict(headers or {}), timeout)

    async def upload_form(
        self,
        url: str,
        field: str,
        path: Path,
        *,
        filename: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 600.0,
        sent: Callable[[int], None] | None = None,
    ) -> Response:
        """POST a multipart form with *fields* and the file at *path* as part *field*.

        *sent* is called with the number of the file's bytes that are on their way.
        """
        boundary = "appliance-" + os.urandom(16).hex()
        line = f"--{boundary}\r\nContent-Disposition: form-data; name="
        kind = "Content-Type: application/octet-stream"
        plain = "".join(
            f'{line}"{key}"\r\n\r\n{value}\r\n' for key, value in (fields or {}).items()
        )
        before = f'{plain}{line}"{field}"; filename="{filename}"\r\n{kind}\r\n\r\n'.encode()
        after = f"\r\n--{boundary}--\r\n".encode()
        named = dict(headers or {})
        named["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        return await self._send("POST", url, path, before, after, named, timeout, sent)

    async def _send(
        self,
        method: str,
        url: str,
        path: Path,
        before: bytes,
        after: bytes,
        headers: dict[str, str],
        timeout: float,
        sent: Callable[[int], None] | None = None,
    ) -> Response:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            headers["Content-Length"] = str(len(before) + size + len(after))
            headers.setdefault("Content-Type", "application/octet-stream")
            target = _Target.of(url)

            async def pieces() -> AsyncGenerator[bytes, None]:
                if before:
                    yield before
                offset = 0
                while offset < size:
                    piece = await self._thread(_reader(fd, offset))
                    if not piece:
                        raise HttpFailed(f"{path.name} shrank while it was sent.")
                    yield piece
                    offset += len(piece)
                    if sent:
                        sent(offset)
                if after:
                    yield after

            with _limit(url, timeout):
                async with (
                    aclosing(pieces()) as body,
                    self._open(method, target, headers, body) as answer,
                ):
                    return Response(answer.status_code, _lower(answer), await answer.aread())
            raise AssertionError("unreachable: the time-out raises")
        finally:
            os.close(fd)

    def _headers(self, target: _Target, headers: Mapping[str, str]) -> dict[str, str]:
        """*headers* with the credentials of the URL, the sender and the push."""
        named = dict(headers)
        if target.host:
            named["Host"] = target.host
        if target.authorization:
            named.setdefault("Authorization", target.authorization)
        if self._room:
            named.setdefault(SENDER_HEADER, self._room)
        if trace := current_trace.get():
            named.setdefault(TRACE_HEADER, trace)
        return named

    async def _thread(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function, limiter=self._pool.limiter)

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        target: _Target,
        headers: Mapping[str, str],
        body: bytes | AsyncIterator[bytes] | None,
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request; the answer's head has arrived when the context is entered."""
        import httpx2

        if self._pool.client is None:
            self._pool.client = _make_client()
        try:
            async with self._pool.client.stream(
                method, target.url, headers=self._headers(target, headers), content=body
            ) as answer:
                yield answer
        except httpx2.ConnectTimeout:
            reason = f"did not accept a connection within {CONNECT_SECONDS:g} s"
            raise Unreachable(f"{target.origin} {reason}.") from None
        except (httpx2.ConnectError, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise Unreachable(f"{target.origin} cannot be reached: {_why(error)}.") from None
        except httpx2.HTTPError as error:
            raise HttpFailed(f"{target.origin} did not answer: {_why(error)}.") from None


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL without its credentials, which have become a header.

    Names below ``localhost`` are loopback by RFC 6761, which most resolvers do not know: the
    URL has the address then, and *host* is what the request's Host header says.
    """

    url: str
    origin: str  # host:port
    path: str
    authorization: str
    host: str

    def __str__(self) -> str:
        return self.origin + self.path

    @staticmethod
    def of(url: str) -> _Target:
        try:
            split = urlsplit(url)
            port = split.port or {"https": 443}.get(split.scheme, 80)
        except ValueError:
            raise HttpFailed("The URL cannot be read.") from None
        if split.scheme not in ("http", "https") or not split.hostname:
            raise HttpFailed("The URL must begin with http:// or https:// and a host.")
        host = split.netloc.rpartition("@")[2]
        authorization = ""
        if split.username is not None:
            authorization = basic_header(unquote(split.username), unquote(split.password or ""))
        address, named = host, ""
        if split.scheme == "http" and split.hostname.endswith(".localhost"):
            address, named = f"127.0.0.1:{port}", host
        plain = urlunsplit((split.scheme, address, split.path, split.query, ""))
        return _Target(plain, f"{split.hostname}:{port}", split.path, authorization, named)


def _is_direct(target: _Target) -> bool:
    """Whether nothing but TCP is between us and *target*: no TLS, no proxy."""
    split = urlsplit(target.url)
    host = split.hostname or ""
    if split.scheme != "http":
        return False
    if host in ("127.0.0.1", "::1", "localhost"):
        return True
    return not any(os.environ.get(name) for name in ("http_proxy", "all_proxy", "ALL_PROXY"))


def _make_client() -> httpx2.AsyncClient:
    import httpx2

    # Our own listeners are always reached directly, whatever proxy the user has set.
    direct = {f"all://{host}": None for host in ("127.0.0.1", "[::1]", "localhost", "*.localhost")}
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=5.0),
        mounts=direct,
        follow_redirects=False,
        verify=_trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
    )


@cache
def _trusted(*_named: str | None) -> ssl.SSLContext:
    """Whom TLS trusts: what two variables of the environment have *_named*, else the system.

    Reading that takes some 50 ms, so it is read once for all clients of the process.
    """
    import httpx2

    return httpx2.create_ssl_context()


class _limit:
    """A deadline for a block; passing it raises `HttpFailed` in place of a cancellation."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url, self._seconds = url, seconds
        self._scope = trio.CancelScope()

    def __enter__(self) -> None:
        self._scope.deadline = trio.current_time() + self._seconds
        self._scope.__enter__()

    def __exit__(self, *error: Any) -> bool:
        swallowed = bool(self._scope.__exit__(*error))
        if self._scope.cancelled_caught:
            origin = _Target.of(self._url).origin
            raise TimedOut(f"{origin} did not answer within {self._seconds:g} s.")
        return swallowed


def _redirected(url: str, where: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The next URL and headers; credentials are for the origin that they were given for."""
    old = urlsplit(url)
    following = urljoin(url, where)
    new = urlsplit(following)
    if (new.scheme, new.hostname, new.port) == (old.scheme, old.hostname, old.port):
        if new.username is None and old.username is not None:
            netloc = f"{old.netloc.rpartition('@')[0]}@{new.netloc}"
            following = urlunsplit(new._replace(netloc=netloc))
        return following, headers
    secret = ("authorization", "cookie")
    return following, {name: value for name, value in headers.items() if name.lower() not in secret}


async def _whole(answer: httpx2.Response, target: _Target, limit: int | None) -> bytes:
    """The body of *answer*, which has at most *limit* bytes."""
    if limit is None:
        return await answer.aread()
    received = bytearray()
    with trio.CancelScope() as reading:
        async for piece in answer.aiter_raw():
            received += piece
            if len(received) > limit:
                # The next read is cancelled, and so each iterator below this one comes to its
                # end; one that is left half-way is left to the garbage collector.
                reading.cancel()
    if len(received) > limit:
        raise too_large(str(target), limit)
    return bytes(received)


def _lower(answer: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _write(sink: FileSink, batch: list[bytes]) -> None:
    if batch:
        sink.write(batch[0] if len(batch) == 1 else b"".join(batch))


def _reader(fd: int, offset: int) -> Callable[[], bytes]:
    return lambda: os.pread(fd, PIECE, offset)


def _why(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):  # one attempt per address
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error).rstrip(".") or type(error).__name__
