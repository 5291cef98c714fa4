"""One request on its way to some endpoint, and what is known of how it went."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.router.endpoint import Endpoint
from appliance.router.head import Request
from appliance.router.refusals import Refused

#: Sending one of these twice does what sending it once does (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class KeptConnectionDied(Exception):
    """The app closed the connection before it saw the request."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request on its way to some endpoint."""

    request: Request
    endpoint: Endpoint  # the one that is tried now
    request_id: bytes
    body: bytes | None  # all of it; None when it is still to be read
    at: int  # nanoseconds since 1970 when its head was complete
    began: float  # the same, on the monotonic clock
    app_seconds: float = 0.0  # until the end of the last app's answer
    refused: Refused | None = None
    why: str = ""  # it failed

    @property
    def repeatable(self) -> bool:
        """Whether it can and may be sent a second time."""
        return self.body is not None and self.request.method in IDEMPOTENT
