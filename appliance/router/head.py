"""A request's head, read strictly and written anew.

What goes on is never what came: a new head is made of the fields that may pass, so
that only the router says where a body ends and who is asking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from appliance.kernel.http.gate import Refusal, check_head
from appliance.router.endpoint import Endpoint

#: Under load heads repeat, and nothing but their bytes decides what they mean: the
#: latest short ones are remembered.
REMEMBERED = 512  # heads of each kind
REMEMBERED_SIZE = 1024  # bytes of the longest one

#: Of one connection only (RFC 9110, 7.6.1), or said by the router itself.
HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding"}
    | {b"upgrade", b"content-length"}
)
_REQUEST_DROPPED = HOP | {
    b"host",
    b"proxy",
    b"proxy-authorization",
    b"forwarded",
    b"http2-settings",
}
_REQUEST_OURS = (b"x-forwarded-", b"x-cf-", b"x-vcap-", b"x-request-start", b"x-appliance-")

_OPTIONS = frozenset((b"close", b"keep-alive", b"upgrade"))  # of Connection; no field's name

_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,127}")


@dataclass(slots=True)
class Request:
    """A request's head, after the gate has passed it. Shared by equal heads: never changed."""

    method: bytes
    target: bytes  # origin form
    minor: int  # HTTP/1.minor
    host: bytes  # as it was sent, with its port
    lines: list[bytes]  # fields that pass on
    length: int  # of the body; 0 when chunked
    chunked: bool
    keep_alive: bool
    upgrade: bytes  # the wanted protocol; b"" for none
    request_id: bytes  # the client's, when it looks like one
    instance: bytes  # X-Cf-App-Instance: GUID:INDEX
    signature: bytes = b""  # X-Cf-Proxy-Signature: it may come from a route service
    metadata: bytes = b""  # X-Cf-Proxy-Metadata
    to_service: bool = False  # it is on its way to a route service
    name: str = ""  # the host for the route table: lower case, without port
    path: str = ""  # the target for the route table, query included
    fixed: bytes = b""  # the new head, without what differs from request to request

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head."""
        return self.chunked or self.length > 0

    def field(self, name: bytes) -> bytes:
        """The first value of the passed field *name* (lower case), or b""."""
        prefix = name + b":"
        for line in self.lines:
            if line[: len(prefix)].lower() == prefix:
                return line[len(prefix) :].strip()
        return b""


def read_request(raw: bytes) -> Request | Refusal:
    """The request whose head is *raw*, or why the gate refuses it."""
    return _recent_request(raw) if len(raw) <= REMEMBERED_SIZE else _read_request(raw)


def _read_request(raw: bytes) -> Request | Refusal:
    return check_head(raw) or parse_request(raw)


_recent_request = lru_cache(REMEMBERED)(_read_request)


def parse_request(raw: bytes) -> Request:
    """The head *raw*, which `gate.check_head` has passed: it has one reading only."""
    line, *fields = raw[:-4].split(b"\r\n")
    method, target, version = line.split(b" ")
    request = Request(
        method=method,
        target=target if target[:1] in b"/*" else _origin(target),
        minor=version[-1] - 48,
        host=b"",
        lines=[],
        length=0,
        chunked=False,
        keep_alive=version[-1] == 49,
        upgrade=b"",
        request_id=b"",
        instance=b"",
    )
    options: set[bytes] = set()
    wanted = b""
    for entry in fields:
        name, _, value = entry.partition(b":")
        low = name.lower()
        if low in _REQUEST_DROPPED:
            value = value.strip(b" \t")
            if low == b"host":
                request.host = value
            elif low == b"content-length":
                request.length = int(value)
            elif low == b"transfer-encoding":
                request.chunked = True
            elif low == b"connection":
                options.update(each.strip(b" \t") for each in value.lower().split(b","))
            elif low == b"upgrade":
                wanted = value
        elif low.startswith(_REQUEST_OURS):
            value = value.strip(b" \t")
            if low == b"x-vcap-request-id" and _REQUEST_ID.fullmatch(value):
                request.request_id = value
            elif low == b"x-cf-app-instance":
                request.instance = value
            elif low == b"x-cf-proxy-signature":
                request.signature = value
            elif low == b"x-cf-proxy-metadata":
                request.metadata = value
        else:
            request.lines.append(entry)
    if options:
        if b"close" in options:
            request.keep_alive = False
        elif b"keep-alive" in options:
            request.keep_alive = True
        # h2c would carry requests that are never routed or cleaned.
        if b"upgrade" in options and wanted and b"h2c" not in wanted.lower():
            request.upgrade = wanted
        request.lines = without(request.lines, options)
    host = request.host.lower().decode("latin-1")
    request.name = host[: host.index("]") + 1] if host[:1] == "[" else host.partition(":")[0]
    request.path = request.target.decode("latin-1")
    request.fixed = fixed_lines(request)
    return request


def fixed_lines(request: Request) -> bytes:
    """The new head of *request*, without what differs between equal heads."""
    port = request.host.rpartition(b":")[2]
    lines = [
        b"%b %b HTTP/1.1" % (request.method, request.target),
        b"Host: " + request.host,
        *request.lines,
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: " + request.host,
        b"X-Forwarded-Port: " + (port if port.isdigit() and b":" in request.host else b"80"),
    ]
    if request.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif request.length or request.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"Content-Length: %d" % request.length)
    if request.upgrade:
        lines += [b"Connection: Upgrade", b"Upgrade: " + request.upgrade]
    return b"\r\n".join(lines)


def forward(
    request: Request, endpoint: Endpoint, client: bytes, request_id: bytes, at: int
) -> bytes:
    """The head for the app.

    Args:
      client: The client's address.
      at: Milliseconds since 1970 when the request came.
    """
    return (
        b"%b\r\nX-Forwarded-For: %b\r\nX-Request-Start: %d\r\nX-Vcap-Request-Id: %b\r\n%b\r\n"
        % (request.fixed, client, at, request_id, endpoint.fields)
    )


def _origin(target: bytes) -> bytes:
    """``http://host/path`` as ``/path``; the gate has compared the host with Host."""
    rest = target.partition(b"://")[2]
    _, slash, path = rest.partition(b"/")
    return slash + path or b"/"


def without(lines: list[bytes], options: set[bytes]) -> list[bytes]:
    """The fields that Connection did not name."""
    if options <= _OPTIONS:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in options]
