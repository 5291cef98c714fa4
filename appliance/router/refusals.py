"""What the router answers by itself: status, X-Cf-RouterError and a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer of the router's own. *error* is the value of ``X-Cf-RouterError``."""

    status: int
    error: str
    text: str  # without the status; a sentence

    def encode(self, *, close: bool, head_only: bool = False, request_id: bytes = b"") -> bytes:
        """Head and body as they go to the client."""
        phrase = HTTPStatus(self.status).phrase
        body = f"{self.status} {phrase}: {self.text}\n".encode("utf-8", "replace")
        lines = [
            b"HTTP/1.1 %d %b" % (self.status, phrase.encode()),
            b"Content-Type: text/plain; charset=utf-8",
            b"X-Content-Type-Options: nosniff",
            b"Cache-Control: no-cache, no-store",
            b"Content-Length: %d" % len(body),
        ]
        if self.error:
            lines.append(b"X-Cf-RouterError: " + self.error.encode())
        if request_id:
            lines.append(b"X-Vcap-Request-Id: " + request_id)
        if close:
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else body)


def unknown_route(host: str) -> Refused:
    """No route has this host, or none for this path."""
    return Refused(404, "unknown_route", f"Requested route ('{host}') does not exist.")


def unknown_instance(instance: str, host: str) -> Refused:
    """``X-Cf-App-Instance`` names an instance that is not there."""
    text = f"Requested instance ('{instance}') does not exist for route ('{host}')."
    return Refused(404, "unknown_route", text)


def unreachable_service(url: str) -> Refused:
    """A route service beyond this router that wants TLS."""
    text = f"The route service {url} is no app here, and the router speaks no https with others."
    return Refused(502, "route_service_unsupported", text)


def bad_signature(why: str, *, expired: bool = False) -> Refused:
    """A request that does not prove that it comes from its route's service."""
    text = f"Failed to validate Route Service Signature: {why}."
    if expired:
        return Refused(504, "expired_route_service_signature", text)
    return Refused(502, "invalid_route_service_signature", text)


SERVICE_WITHOUT_TUNNELS = Refused(
    503,
    "route_service_unsupported",
    "Websocket requests are not supported for routes bound to Route Services.",
)
ENDPOINT_FAILED = Refused(
    502, "endpoint_failure", "Registered endpoint failed to handle the request."
)
ENDPOINT_SLOW = Refused(504, "endpoint_timeout", "The app did not begin its answer in time.")
CLIENT_SLOW = Refused(408, "", "The request did not arrive in time.")


def bad_request(reason: str, status: int = 400) -> Refused:
    """The request breaks a rule; *reason* is a sentence."""
    return Refused(status, "", reason)
