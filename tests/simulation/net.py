"""A net between simulated nodes: slow, and with faults; what its ends see is HTTP."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Any, Protocol, cast
from urllib.parse import unquote, urlsplit

import msgspec
import trio

from appliance.kernel.errors import NotFound
from appliance.kernel.http.auth import basic_header
from appliance.kernel.http.blob_plane import Exchange, Routes
from appliance.kernel.http.client import Response
from appliance.kernel.http.errors import BadAnswer, ClientGone, HttpFailed, present_plain
from appliance.kernel.http.guard import run_blob
from appliance.kernel.http.receive import Spooled
from appliance.kernel.kit import Kit
from tests.simulation.disk import SimDisk
from tests.simulation.life import Life

PATIENCE = 10.0  # seconds that a sender waits for an answer
MOST_REQUESTS = 8_000  # between the nodes of one run; several times what all faults cause


class Storm(Exception):
    """The nodes keep each other busy without an end; the run is given up."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request on its way."""

    method: str
    path: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes = b""
    broken: bool = False  # the connection ends inside the body


@dataclass
class Answer:
    """An answer on its way; *broken* when its connection ended inside the body."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: bool = False


class Server(Protocol):
    """A running process that takes requests."""

    life: Life
    nursery: trio.Nursery
    disk: SimDisk
    kit: Kit
    routes: Routes


@dataclass
class Net:
    """All nodes' connections, and what goes wrong with them."""

    rng: Random
    counts: Counter[str]
    note: Callable[[str], None]
    servers: dict[str, Server] = field(default_factory=dict)  # those that run, by name
    cut: set[tuple[str, str]] = field(default_factory=set)  # from, to
    loss: float = 0.0  # chances, per request
    lost_reply: float = 0.0
    duplicate: float = 0.0
    broken_body: float = 0.0
    slow: float = 0.02  # seconds that each way takes at most
    requests: int = 0  # between nodes

    async def ask(self, source: str, target: str, request: Request) -> Answer:
        """Carry *request* to *target* and its answer back. Raises `HttpFailed`."""
        among_nodes = source in self.servers
        self.requests += among_nodes
        if self.requests > MOST_REQUESTS:
            raise Storm(f"more than {MOST_REQUESTS} requests between the nodes")
        await self._travel()
        if (source, target) in self.cut or self._happens(self.loss, "lost request"):
            await trio.sleep(self.rng.uniform(0.5, 5))
            raise HttpFailed(f"{target} did not answer.")
        if self._happens(self.broken_body, "broken body") and request.body:
            request = Request(
                method=request.method,
                path=request.path,
                headers=request.headers,
                body=request.body[: self.rng.randrange(len(request.body))],
                broken=True,
            )
        server = self.servers.get(target)
        if server is None or server.life.dead:
            raise HttpFailed(f"{target} cannot be reached: connection refused.")
        self.note(f"{source} {request.method} {target} {request.path}")
        if among_nodes and self._happens(self.duplicate, "repeated request"):
            server.nursery.start_soon(self._repeat, server, request)
        answer = await self._deliver(server, request)
        await self._travel()
        if (target, source) in self.cut or self._happens(self.lost_reply, "lost reply"):
            raise HttpFailed(f"{target} did not answer.")
        return answer

    async def _deliver(self, server: Server, request: Request) -> Answer:
        done = trio.Event()
        answers: list[Answer] = []

        async def serve() -> None:
            answers.append(await handle(server, request))
            done.set()

        server.life.at_end(done.set)
        server.nursery.start_soon(serve)
        with trio.move_on_after(PATIENCE):
            await done.wait()
        if not answers:
            raise HttpFailed("The connection broke.")
        return answers[0]

    async def _repeat(self, server: Server, request: Request) -> None:
        await trio.sleep(self.rng.uniform(0, 2))
        await handle(server, request)

    async def _travel(self) -> None:
        await trio.sleep(self.rng.random() * self.slow)

    def _happens(self, chance: float, what: str) -> bool:
        if chance and self.rng.random() < chance:
            self.counts[what] += 1
            return True
        return False


async def handle(server: Server, request: Request) -> Answer:
    """Let the routes of *server* answer, in the guard of the real server."""
    found = server.routes.find(request.method, request.path.encode())
    if found is None:
        return Answer(404)
    blob, params = found
    exchange = SimExchange(server, request, params)
    await run_blob(blob, cast(Exchange, exchange), server.kit, present_plain)
    exchange.answer.broken = exchange.answer.broken or (
        exchange.close and len(exchange.answer.body) != exchange.promised
    )
    return exchange.answer


class SimExchange:
    """What a handler sees of a request: the part of `Exchange` that archivers use."""

    def __init__(self, server: Server, request: Request, params: dict[str, str]) -> None:
        self.method = request.method
        self.path = request.path
        self.params = params
        self.query: dict[str, str] = {}
        self.headers = {**request.headers, "content-length": str(len(request.body))}
        self.answer_headers: dict[str, str] = {}
        self.status = 0
        self.close = False
        self.answer = Answer()
        self.promised = 0  # bytes of the answer
        self._server = server
        self._request = request

    async def receive_file(self, folder: Path, *, limit: int, fsync: bool = False) -> Spooled:
        return await spool(self._server.disk, folder, self._request.body, fsync,
                           broken=self._request.broken)  # fmt: skip

    async def reply(
        self,
        status: int,
        body: bytes | str | object = b"",
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = "",
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        if not isinstance(data, bytes):
            data = msgspec.json.encode(data)
        self._answer(status, headers or {}, data)

    async def send_file(
        self,
        path: Path,
        *,
        content_type: str = "",
        etag: str = "",
        headers: Mapping[str, str] | None = None,
        check: Callable[[IO[bytes]], None] | None = None,
    ) -> None:
        try:
            with self._server.disk.open(path) as file:
                data = file.read()
        except FileNotFoundError:
            raise NotFound("There is no such file.") from None
        if self.method == "HEAD":
            self._answer(200, headers or {}, b"")
            return
        self._answer(200, headers or {}, data[:-1])
        self.promised = len(data)
        if check is not None:
            check(io.BytesIO(data))
        self.answer.body = data

    async def finish(self) -> bytes:
        return b""

    def release(self) -> None:
        pass

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        assert not self.status, "answered twice"
        self.status = status
        self.promised = len(body)
        named = {name.lower(): value for name, value in headers.items()}
        self.answer = Answer(status, named, body)


class SimClient:
    """The HTTP client of one node, or of a user of them."""

    def __init__(self, net: Net, name: str, disk: SimDisk | None = None) -> None:
        self._net = net
        self._name = name
        self._disk = disk

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> Response:
        answer = await self._ask(method, url, content, headers)
        if answer.broken:
            raise HttpFailed("The answer broke off.")
        return Response(answer.status, answer.headers, answer.body)

    async def upload(
        self, method: str, url: str, path: Path, *, headers: Mapping[str, str] | None = None
    ) -> Response:
        assert self._disk is not None
        with self._disk.open(path) as file:
            data = file.read()
        return await self.request(method, url, content=data, headers=headers)

    async def download(
        self, url: str, folder: Path, *, limit: int, fsync: bool = False, **_: Any
    ) -> Spooled:
        assert self._disk is not None
        answer = await self._ask("GET", url, b"", None)
        if answer.status != 200:
            raise BadAnswer(f"The peer answered {answer.status}.", answer.status)
        try:
            return await spool(self._disk, folder, answer.body, fsync, broken=answer.broken)
        except ClientGone:
            raise HttpFailed("The answer broke off.") from None

    async def _ask(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Answer:
        parts = urlsplit(url)
        named = {name.lower(): value for name, value in (headers or {}).items()}
        if parts.username:
            named["authorization"] = basic_header(
                unquote(parts.username), unquote(parts.password or "")
            )
        request = Request(method=method, path=parts.path, headers=named, body=body)
        return await self._net.ask(self._name, parts.hostname or "", request)


async def spool(disk: SimDisk, folder: Path, body: bytes, sync: bool, *, broken: bool) -> Spooled:
    """Receive *body* into a new file in *folder*, in two pieces."""
    path = folder / disk.new_name()
    half = len(body) // 2
    await disk.write_new(path, [body[:half], body[half:]], sync=sync and not broken)
    if broken:
        disk.unlink(path)
        raise ClientGone("The connection ended inside the body.")
    return Spooled(
        path, len(body), hashlib.sha1(body).hexdigest(), hashlib.sha256(body).hexdigest()
    )
