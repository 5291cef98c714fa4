"""One client connection: every request on it is read, routed and answered by itself."""

from __future__ import annotations

import socket
import traceback
from enum import Enum

import trio

from appliance.kernel.http import gate
from appliance.kernel.kit import joined
from appliance.router.access import Record
from appliance.router.answer import BadAnswer
from appliance.router.attempt import Attempt, KeptConnectionDied
from appliance.router.endpoint import Endpoint
from appliance.router.exchange import BadBody, Exchange
from appliance.router.head import Request, forward, read_request
from appliance.router.pool import ConnectFailed
from appliance.router.proxy import Proxy
from appliance.router.refusals import (
    CLIENT_SLOW,
    ENDPOINT_FAILED,
    Refused,
    bad_request,
    unknown_instance,
    unknown_route,
)
from appliance.router.sticky import INSTANCE, wanted_instance
from appliance.router.table import RETRY_AFTER, Route
from appliance.router.watch import Limit
from appliance.router.wire import AppLost, ClientLost, Wire

MAX_ATTEMPTS = 3  # endpoints that are tried for one request
LINGER_SECONDS = 2.0  # for the last answer to arrive
LINGER_BYTES = 16 * 1024 * 1024  # of a body that nobody wants any more
CLIENT_CLOSED = 499  # status in access lines, as gorouter has it


async def serve_client(proxy: Proxy, sock: socket.socket, client: str) -> None:
    """Serve the accepted *sock*, then close it. Whatever goes wrong, only this ends."""
    session = Session(proxy, Wire(sock, ClientLost), client)
    proxy.sessions.add(session)
    proxy.watch.looks.add(session.look)
    try:
        await session.run()
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        proxy.kit.trace.event("connection.failed", why=repr(error), traceback=text)
    finally:
        proxy.watch.looks.discard(session.look)
        proxy.sessions.discard(session)
        session.client.close()


class Phase(Enum):
    """What a connection is waiting for."""

    IDLE = "the next request"
    HEAD = "the rest of a head"
    EXCHANGE = "the end of a request"


class Session:
    """One client connection."""

    def __init__(self, proxy: Proxy, client: Wire, address: str) -> None:
        self._proxy = proxy
        self.client = client
        self.phase = Phase.IDLE
        self._address = address  # "ip:port"
        self._ip = address.rpartition(":")[0].strip("[]").encode()
        self._scope = trio.CancelScope()
        self._down, self._up = Limit(proxy.watch), Limit(proxy.watch)
        self._exchange: Exchange | None = None
        self._refusal: Refused | None = None

    async def run(self) -> None:
        """Serve requests until either side closes or a limit is over."""
        try:
            with self._scope:
                while (raw := await self._head()) is not None:
                    if not await self._request(raw):
                        break
            if self._scope.cancelled_caught and self._refusal is not None:
                with trio.move_on_after(LINGER_SECONDS):
                    await self._refuse(self._refusal)
        except ClientLost:
            pass

    def look(self, now: float) -> None:
        """Give up when a limit is over, or the client has gone while the app works."""
        for limit in (self._down, self._up):
            if limit.due < now:
                self.give_up(limit.refusal)
                return
        exchange = self._exchange
        if exchange is None or not exchange.uploaded or exchange.tunnel:
            return
        # Nobody reads from the client at the moment. As in Go's server, an end here means
        # that nobody wants the answer, and the app learns it by its own connection's end.
        if self.client.ended():
            self.give_up(None)

    def drain(self) -> None:
        """End the connection if nothing is under way on it; else it ends after the answer."""
        if self.phase is Phase.IDLE:
            self.give_up(None)

    def give_up(self, refusal: Refused | None) -> None:
        """End the connection; *refusal* is answered when no answer has begun."""
        if self._exchange is None or not self._exchange.status:
            self._refusal = refusal
        self._scope.cancel()

    async def _head(self) -> bytes | None:
        """The next request's head; None when there will be none."""
        client, config = self.client, self._proxy.config
        self.phase = Phase.IDLE
        self._down.within(config.idle_timeout)
        while True:
            if client.buffer:
                end = gate.find_head(client.buffer)
                if isinstance(end, int):
                    self.phase = Phase.EXCHANGE
                    return client.take(end)
                if end is not None:
                    self._proxy.figures.bad_requests += 1
                    await self._refuse(bad_request(end.reason, end.status))
                    return None
                if self.phase is Phase.IDLE:
                    self.phase = Phase.HEAD
                    self._down.within(config.head_timeout, CLIENT_SLOW)
            elif self._proxy.draining:
                return None
            if not await client.fill():
                return None

    async def _request(self, raw: bytes) -> bool:
        """Serve one request; whether the connection can be used for another."""
        proxy = self._proxy
        self._down.clear()
        proxy.figures.requests += 1
        request = read_request(raw)
        if isinstance(request, gate.Refusal):
            proxy.figures.bad_requests += 1
            await self._refuse(bad_request(request.reason, request.status))
            return False
        host = request.name
        route = proxy.table.find(host, request.path) if host else None
        if route is None:
            proxy.figures.bad_requests += 1
            refused = unknown_route(host) if host else bad_request("There is no Host.")
            return await self._refuse(refused, request)
        if route.service is not None:
            turned = proxy.turn(request, route)
            if isinstance(turned, Refused):
                return await self._refuse(turned, request)
            if turned is not None:
                request, route = turned.request, turned.route
        endpoint = self._choose(route, request, sticky=INSTANCE in raw)
        if endpoint is None:
            named = request.instance.decode("latin-1")
            return await self._refuse(unknown_instance(named, host), request)
        return await self._proxied(request, route, endpoint)

    def _choose(self, route: Route, request: Request, *, sticky: bool) -> Endpoint | None:
        if request.instance:
            app, _, index = request.instance.decode("latin-1").partition(":")
            return route.indexed(app, index)
        if sticky and (wanted := wanted_instance(request)):
            endpoint = route.instance(wanted)
            if endpoint is not None and endpoint.failed_until <= self._proxy.watch.now:
                return endpoint
        return self._proxy.next_endpoint(route, request, [])

    async def _proxied(self, request: Request, route: Route, endpoint: Endpoint) -> bool:
        """Have *request* answered by *endpoint*, or by another one of *route*."""
        clock = self._proxy.kit.clock
        attempt = Attempt(
            request=request,
            endpoint=endpoint,
            request_id=request.request_id or self._proxy.request_id(),
            body=self._whole_body(request),
            at=clock.time_ns(),
            began=clock.monotonic(),
        )
        try:
            attempt.refused = refused = await self._attempts(attempt, route)
            exchange = self._exchange
            if refused is None:
                return exchange is not None and exchange.keep
            if exchange is not None and exchange.status:
                return False  # the answer has begun: only its end can tell that it is broken
            read = attempt.body is not None or (exchange is not None and exchange.uploaded)
            return await self._refuse(refused, request, attempt.request_id, body_read=read)
        finally:
            self._account(attempt)
            self._exchange = None

    async def _attempts(self, attempt: Attempt, route: Route) -> Refused | None:
        """Try endpoints until one answers; what the client is told when none does."""
        proxy, tried, fresh = self._proxy, [], False
        while True:
            endpoint = attempt.endpoint
            try:
                return await self._attempt(attempt, fresh=fresh)
            except KeptConnectionDied:
                fresh = True
            except ConnectFailed as error:
                # Nothing was sent: another endpoint may have the whole request.
                endpoint.failed_until = proxy.watch.now + RETRY_AFTER
                proxy.pool.forget(endpoint.address)
                proxy.kit.trace.event("endpoint.failed", endpoint=str(endpoint), why=str(error))
                attempt.why = str(error)
                tried.append(endpoint)
                if len(tried) == MAX_ATTEMPTS or attempt.request.instance:
                    return ENDPOINT_FAILED
                other = proxy.next_endpoint(route, attempt.request, tried)
                if other is None:
                    return ENDPOINT_FAILED
                attempt.endpoint = other

    async def _attempt(self, attempt: Attempt, *, fresh: bool) -> Refused | None:
        """Try one connection; None when the client has its answer.

        Raises:
          ConnectFailed: there is none; nothing was sent.
          KeptConnectionDied: the app had closed it before, so the request may go again.
        """
        proxy, request, endpoint = self._proxy, attempt.request, attempt.endpoint
        wire = await proxy.pool.take(endpoint, repeatable=attempt.repeatable, fresh=fresh)
        exchange = self._exchange = Exchange(
            request,
            self.client,
            wire,
            down=self._down,
            up=self._up,
            app_timeout=proxy.config.app_timeout,
            request_id=attempt.request_id,
            instance="" if request.to_service else endpoint.instance,
            closing=proxy.draining,
        )
        endpoint.active += 1
        try:
            milliseconds = attempt.at // 1_000_000
            head = forward(request, endpoint, self._ip, attempt.request_id, milliseconds)
            await exchange.run(head, attempt.body)
        except AppLost as error:
            if wire.reused and not exchange.heard and attempt.repeatable:
                raise KeptConnectionDied from error
            attempt.why = str(error)
            return ENDPOINT_FAILED
        except BadAnswer as error:
            attempt.why = str(error)
            text = f"{ENDPOINT_FAILED.text} {error}"
            return Refused(ENDPOINT_FAILED.status, ENDPOINT_FAILED.error, text)
        except BadBody as error:
            return bad_request(str(error))
        finally:
            endpoint.active -= 1
            attempt.app_seconds = proxy.kit.clock.monotonic() - attempt.began
            self._down.clear()
            self._up.clear()
            if exchange.reusable:
                proxy.pool.give_back(wire)
            else:
                wire.close()
        return None

    def _whole_body(self, request: Request) -> bytes | None:
        """The request's body when all of it is here; None when it has to be read on."""
        if request.chunked or request.length > len(self.client.buffer):
            return None
        return self.client.take(request.length) if request.length else b""

    async def _refuse(
        self,
        refused: Refused,
        request: Request | None = None,
        request_id: bytes = b"",
        *,
        body_read: bool = False,
    ) -> bool:
        """Answer *refused*; whether the connection can be used for another request."""
        proxy = self._proxy
        proxy.figures.by_class[refused.status // 100] += 1
        keep = (
            request is not None
            and request.keep_alive
            and request.minor == 1
            and (body_read or not request.has_body)
            and refused.status != 400
            and not proxy.draining
        )
        head_only = request is not None and request.method == b"HEAD"
        data = refused.encode(close=not keep, head_only=head_only, request_id=request_id)
        self._down.within(LINGER_SECONDS)
        await self.client.send(data)
        if keep:
            await trio.lowlevel.checkpoint()
        else:
            await self.client.linger(LINGER_SECONDS, LINGER_BYTES)
        return keep

    def _account(self, attempt: Attempt) -> None:
        """Count and tell what became of a request, however it ended."""
        proxy, request, exchange = self._proxy, attempt.request, self._exchange
        refused = attempt.refused or self._refusal
        status = exchange.status if exchange is not None else 0
        if not status:
            status = refused.status if refused else CLIENT_CLOSED
        if status == 502:
            proxy.figures.bad_gateways += 1
        if exchange is not None and exchange.status:
            proxy.figures.by_class[status // 100] += 1
        error = refused.error if refused else ""
        if error and attempt.why:
            error = f"{error} ({attempt.why})"
        request_id = attempt.request_id.decode()
        seconds = proxy.kit.clock.monotonic() - attempt.began
        if proxy.access.wants(attempt.endpoint.app):
            received = exchange.bytes_received if exchange is not None else 0
            sent = exchange.bytes_sent if exchange is not None else 0
            proxy.access.add(
                Record(
                    request=request,
                    endpoint=attempt.endpoint,
                    client=self._address,
                    request_id=request_id,
                    at=attempt.at,
                    status=status,
                    received=received,
                    sent=sent,
                    seconds=seconds,
                    app_seconds=attempt.app_seconds,
                    error=error,
                )
            )
        if request.request_id:
            with joined(request_id):
                proxy.kit.trace.event(
                    "request.routed",
                    method=request.method.decode(),
                    host=request.name,
                    path=request.path.partition("?")[0],
                    endpoint=str(attempt.endpoint),
                    status=status,
                    ms=round(seconds * 1000, 3),
                )
