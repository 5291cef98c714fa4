"""Whether a request goes to its route's service, or comes from there and goes on to the app.

Source: gorouter, ``handlers/routeservice.go``. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from appliance.router.endpoint import Endpoint
from appliance.router.head import Request, fixed_lines
from appliance.router.refusals import (
    SERVICE_WITHOUT_TUNNELS,
    Refused,
    bad_signature,
    unreachable_service,
)
from appliance.router.route_service import BadSignature, ExpiredSignature, Service, Signer
from appliance.router.table import Member, Route, RouteTable


@dataclass(frozen=True, slots=True)
class Detour:
    """The request as the service gets it, and the route that leads there."""

    request: Request
    route: Route


def turn(
    request: Request, route: Route, table: RouteTable, signer: Signer, *, at: float, nonce: str
) -> Detour | Refused | None:
    """What becomes of *request* on a *route* with a service; None: it may go to the app.

    Args:
      at: Seconds since 1970.
      nonce: Random text.
    """
    service = route.service
    if service is None:
        return None
    if request.upgrade:
        return SERVICE_WITHOUT_TUNNELS
    if request.signature:
        return _back(request, route, table, signer, at)
    to = table.find(service.name, service.target.decode())
    if to is None:
        if service.secure:
            return unreachable_service(service.url)
        to = _outside(service)
    url = f"http://{request.host.decode('latin-1')}{request.path}"
    signature, metadata = signer.sign(url, at, nonce)
    return Detour(_readdressed(request, service, url, signature, metadata), to)


def _back(
    request: Request, route: Route, table: RouteTable, signer: Signer, at: float
) -> Refused | None:
    """None when *request* was at the service of *route*, or why it may not pass for that."""
    try:
        url = signer.check(request.signature, request.metadata, at)
    except ExpiredSignature as error:
        return bad_signature(str(error), expired=True)
    except BadSignature as error:
        return bad_signature(str(error))
    host, slash, path = url.removeprefix("http://").partition("/")
    name = host[: host.index("]") + 1] if host[:1] == "[" else host.partition(":")[0]
    if table.find(name.lower(), slash + path) is not route:
        return bad_signature("it is for another route")
    return None


def _outside(service: Service) -> Route:
    """A route to a service that is no app here."""
    route = Route(service.url, "")
    route.put(Member(Endpoint(service.name, service.port), 0, inf))
    return route


def _readdressed(
    request: Request, service: Service, url: str, signature: bytes, metadata: bytes
) -> Request:
    """*request* as the service gets it: its own URL, and the one that was asked for beside it."""
    sent = replace(
        request,
        host=service.host,
        target=service.target,
        name=service.name,
        path=service.target.decode(),
        instance=b"",
        to_service=True,
        lines=[
            *request.lines,
            b"X-CF-Forwarded-Url: " + url.encode("latin-1"),
            b"X-CF-Proxy-Signature: " + signature,
            b"X-CF-Proxy-Metadata: " + metadata,
        ],
    )
    sent.fixed = fixed_lines(sent)
    return sent
