"""The way out for builds: a proxy on a Unix socket that connects to listed hosts only.

A sandbox without a network gets this socket and nothing else. The proxy looks names up itself
and connects to the address that it has checked, so that no answer of a name server leads a
build to this machine or its network. Who was asked for is told and traced.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.kernel.process.egress_rules import Asked, Target, may_connect, read_head
from appliance.kernel.process.folders import private_folder
from appliance.kernel.trace import Trace

HEAD = 16 * 1024  # bytes of a request that are read at most
HEAD_SECONDS = 10.0  # for a client to say what it wants
CONNECT_SECONDS = 15.0  # to look a name up and to be let in
CHUNK = 64 * 1024  # bytes
CONNECTIONS = 256  # at once; more are closed
WAITING = 128  # connections not yet accepted

#: Called for each host that a build asks for, once: ``host:port``, and why not ("" when it may).
OnHost = Callable[[str, str], None]


class Refused(Exception):
    """The client is told *status* and the sentence, and the connection ends."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one build may take from the network."""

    bytes: int  # both ways, all connections together
    seconds: float  # from the opening of the proxy on


@dataclass(eq=False, kw_only=True)
class Egress:
    """One proxy, for one build. Get one from `open_egress` or `open_learner`."""

    allow: frozenset[Target]
    budget: Budget
    trace: Trace
    on_host: OnHost | None = None
    token: bytes = b""  # what clients have to know; "" lets in whoever reaches the socket
    learn: bool = False  # let through what is asked for, and remember it
    path: Path | None = None  # of the socket
    learnt: set[Target] = field(default_factory=set)
    moved: int = 0  # bytes, both ways
    _told: set[tuple[str, str]] = field(default_factory=set)
    _scopes: set[trio.CancelScope] = field(default_factory=set)
    _deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self._deadline = trio.current_time() + self.budget.seconds

    @property
    def spent(self) -> bool:
        """Whether nothing more goes through."""
        return self.moved > self.budget.bytes or trio.current_time() >= self._deadline

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve whoever connects to *listener*, until cancelled."""
        await trio.serve_listeners(self._connection, [listener])

    async def _connection(self, client: trio.SocketStream) -> None:
        try:
            async with client:
                if len(self._scopes) >= CONNECTIONS:
                    return
                with trio.CancelScope() as scope:
                    self._scopes.add(scope)
                    try:
                        await self._answer(client, scope)
                    finally:
                        self._scopes.discard(scope)
        except (trio.BrokenResourceError, OSError):
            pass  # either side has gone

    async def _answer(self, client: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            asked, more = await _head(client)
            if self.spent:
                raise Refused(403, "the build has used up its share of the network")
            if self.token and asked.token != self.token:
                raise Refused(407, "this proxy is somebody else's")
            upstream = await self._reach(asked)
        except Refused as refused:
            with trio.move_on_after(HEAD_SECONDS):
                await _say(client, refused.status, str(refused))
            return
        scope.deadline = self._deadline
        async with upstream:
            if asked.tunnel:
                await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if asked.first or more:
                self._count(len(asked.first) + len(more))
                await upstream.send_all(asked.first + more)
            async with trio.open_nursery() as both:
                both.start_soon(self._pump, client, upstream, both.cancel_scope)
                both.start_soon(self._pump, upstream, client, both.cancel_scope)

    async def _reach(self, asked: Asked) -> trio.SocketStream:
        """A connection to the host that is asked for, if that may be."""
        host, port = asked.place
        place = str(Target(host=host, port=port))
        target = next((one for one in self.allow if (one.host, one.port) == asked.place), None)
        if target is None and self.learn and port in (80, 443):
            target = Target(host=host, port=port)
        if target is None:
            raise self._refused(place, "it is not on the list of hosts for builds")
        try:
            with trio.fail_after(CONNECT_SECONDS):
                found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                addresses = [one[4] for one in found if may_connect(target, str(one[4][0]))]
                if not addresses:
                    raise self._refused(place, f"its address {found[0][4][0]} is not a public one")
                stream = await _connect(addresses)
        except trio.TooSlowError:
            raise Refused(504, f"{place} does not answer") from None
        except OSError as error:
            raise Refused(502, f"{place} cannot be reached ({error.strerror or error})") from None
        self.learnt.add(target)
        self._tell("egress.opened", place, "")
        return stream

    def _refused(self, place: str, why: str) -> Refused:
        self._tell("egress.refused", place, why)
        return Refused(403, f"{place} may not be asked: {why}")

    def _tell(self, what: str, place: str, why: str) -> None:
        if (place, why) in self._told:
            return
        self._told.add((place, why))
        self.trace.event(what, host=place, **({"why": why} if why else {}))
        if self.on_host is not None:
            self.on_host(place, why)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope
    ) -> None:
        """Copy until *source* ends, and tell *sink* so; an error ends both ways."""
        try:
            while data := await source.receive_some(CHUNK):
                self._count(len(data))
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, OSError):
            both.cancel()

    def _count(self, size: int) -> None:
        self.moved += size
        if self.moved > self.budget.bytes:
            self._tell("egress.refused", "any host", "the build has used up its share of bytes")
            for scope in self._scopes:
                scope.cancel()


@asynccontextmanager
async def open_egress(
    allow: Iterable[Target],
    *,
    budget: Budget,
    trace: Trace,
    uid: int | None = None,
    on_host: OnHost | None = None,
) -> AsyncIterator[Egress]:
    """A proxy to *allow* on a new Unix socket, `Egress.path`, gone when the block is left.

    Args:
      budget: The most that goes through it; then everything is closed and refused.
      uid: The user that sandboxed programs run as, who may use the socket; None for our own.
      on_host: Told each host that is asked for, and why it is refused, else "".
    """
    async with private_folder("egress") as folder:
        listener = _listen(folder, uid)
        egress = Egress(
            allow=frozenset(allow),
            budget=budget,
            trace=trace,
            on_host=on_host,
            path=folder / "socket",
        )
        async with _served(egress, listener):
            yield egress


@asynccontextmanager
async def open_learner(
    allow: Iterable[Target], *, budget: Budget, trace: Trace, token: bytes
) -> AsyncIterator[tuple[Egress, int]]:
    """A proxy on a loopback port that lets *token*'s holder through to any public host.

    For a trusted tool, whose hosts `Egress.learnt` then has. Ports 80 and 443 only, except for
    what is in *allow*. What is asked without the token, the whole value of Proxy-Authorization,
    is neither served nor learnt.
    """
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    egress = Egress(allow=frozenset(allow), budget=budget, trace=trace, token=token, learn=True)
    async with _served(egress, listeners[0]):
        yield egress, listeners[0].socket.getsockname()[1]


@asynccontextmanager
async def _served(egress: Egress, listener: trio.SocketListener) -> AsyncIterator[None]:
    """Serve while the block lasts; an error in it comes out as it is, not in a group."""
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(egress.serve, listener)
        try:
            yield
        except Exception as error:
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed


def _listen(folder: Path, uid: int | None) -> trio.SocketListener:
    """A socket in *folder*, which nobody else can enter: what modes it is made with is no matter.

    Bound by way of the folder's descriptor: the path may be longer than an address can be.
    """
    sock = socket.socket(socket.AF_UNIX)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        sock.bind(f"/proc/self/fd/{descriptor}/socket")
        os.chmod(folder / "socket", 0o600)
        if uid is not None:
            os.chown(folder / "socket", uid, uid)
        sock.listen(WAITING)
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(descriptor)


async def _head(client: trio.SocketStream) -> tuple[Asked, bytes]:
    """What the client asks for, and what it has sent after that."""
    received = b""
    with trio.move_on_after(HEAD_SECONDS):
        while b"\r\n\r\n" not in received:
            chunk = await client.receive_some(HEAD)
            received += chunk
            if not chunk or len(received) > HEAD:
                raise Refused(400, "this is a proxy, and that was no request to one")
        head, _, more = received.partition(b"\r\n\r\n")
        if (asked := read_head(head + b"\r\n\r\n")) is None:
            raise Refused(400, "this proxy knows CONNECT and whole http:// addresses")
        return asked, more
    raise Refused(408, "the request took too long")


async def _say(client: trio.SocketStream, status: int, why: str) -> None:
    body = f"The appliance's proxy for builds: {why}.\n".encode()
    reason = {407: "Proxy Authentication Required"}.get(status, "Refused")
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    await client.send_all(head.encode() + body)
    await client.send_eof()


async def _connect(addresses: Iterable[tuple[object, ...]]) -> trio.SocketStream:
    """The first of *addresses* that takes us. Raises OSError of the last one."""
    last: OSError | None = None
    for address in addresses:
        sock = trio.socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET)
        try:
            await sock.connect(address)
        except OSError as error:
            last = error
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return trio.SocketStream(sock)
    assert last is not None
    raise last
