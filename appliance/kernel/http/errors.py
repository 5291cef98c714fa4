"""What can go wrong over HTTP, and how an error becomes an answer."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable

from appliance.kernel.errors import (
    ApplianceError,
    BadRequest,
    Conflict,
    NotFound,
    StorageFull,
    TooLarge,
    Unauthorized,
    Unavailable,
)

#: Turns an error into status, headers and body.
PresentError = Callable[[ApplianceError], tuple[int, dict[str, str], bytes]]


class HttpFailed(Unavailable):
    """No answer: the connection was refused, broke or timed out."""

    code = "http-failed"


class Unreachable(HttpFailed):
    """Not even a connection, so the other side knows nothing of the request."""


class TimedOut(HttpFailed):
    """There was a connection, and no whole answer in time."""


class BadAnswer(ApplianceError):
    """An answer, but not the one that was needed; *status* is the answer's own."""

    code, status, exit_code = "bad-answer", 502, 69

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # the answer's, not one per class


class ClientGone(BadRequest):
    """The client closed the connection before its request was complete."""

    code = "client-gone"


class TooSlow(ApplianceError):
    """The client sent its request, or took its answer, too slowly."""

    code, status = "too-slow", 408


class MethodNotAllowed(ApplianceError):
    """The path exists, but not with this method."""

    code, status = "method-not-allowed", 405


class StorageFailed(ApplianceError):
    """The disk answered with an error; nothing was stored."""

    code, status, exit_code = "storage-failed", 500, 31


class StorageReadOnly(Unavailable):
    """The file system is mounted read-only; nothing was stored."""

    code, exit_code = "storage-read-only", 32


class Internal(ApplianceError):
    """A bug of ours; the trace has the traceback."""


def present_plain(error: ApplianceError) -> tuple[int, dict[str, str], bytes]:
    """``{"code", "description", "hint"}``; the hint is left out when there is none."""
    body = {"code": error.code, "description": str(error)}
    if error.hint:
        body["hint"] = error.hint
    headers = {"Content-Type": "application/json"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="appliance"'
    return error.status, headers, json.dumps(body).encode()


def from_os_error(error: OSError) -> ApplianceError:
    """The sentence and status for what the operating system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("There is no space left to store this.")
    if error.errno == errno.EROFS:
        return StorageReadOnly("The storage is read-only at the moment.")
    return StorageFailed(f"The storage failed: {error.strerror or error}.")


_BY_STATUS: dict[int, type[ApplianceError]] = {
    400: BadRequest,
    401: Unauthorized,
    404: NotFound,
    405: MethodNotAllowed,
    408: TooSlow,
    409: Conflict,
    413: TooLarge,
    503: Unavailable,
}


def for_status(status: int, message: str) -> ApplianceError:
    """An error that is presented with *status*, for statuses that a framework decided."""
    kind = _BY_STATUS.get(status)
    if kind is None:
        base = BadRequest if 400 <= status < 500 else Internal
        kind = type(f"Status{status}", (base,), {"status": status, "code": f"http-{status}"})
    return kind(message)
