"""Control APIs: a Quart app in which errors are JSON and every answer belongs to a push."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.auth import basic_auth, basic_header
from appliance.kernel.http.errors import (
    Internal,
    PresentError,
    for_status,
    from_os_error,
    present_plain,
)
from appliance.kernel.trace import SENDER_HEADER, TRACE_HEADER, current_trace

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

    from appliance.kernel.kit import Kit

__all__ = ["basic_auth", "basic_header", "make_app"]

MAX_BODY = 16 * 1024 * 1024  # bytes; larger bodies belong to the blob plane
BODY_SECONDS = 60.0  # for a whole request body


def make_app(kit: Kit, *, present_error: PresentError = present_plain) -> QuartTrio:
    """A Quart app with the house's error answers, ``/healthz`` and ``/readyz``.

    An `ApplianceError` that a handler raises is answered by *present_error*; so are
    unknown paths and methods. A bug is answered as a 500, and its traceback is the
    trace event ``handler.failed``.
    """
    from quart import Response  # Quart costs 110 ms: only rooms with a control API pay
    from quart_trio import QuartTrio
    from werkzeug.exceptions import HTTPException

    app = QuartTrio(__name__, static_folder=None, template_folder=None)
    # A path with two slashes is unknown; its redirect would be a page.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    # Quart's time-out truncates an answer without a word; the server has its own,
    # which counts only while the client takes nothing.
    app.config["RESPONSE_TIMEOUT"] = None

    def answer(error: ApplianceError) -> Response:
        status, headers, body = present_error(error)
        return Response(body, status=status, headers=headers)

    @app.errorhandler(ApplianceError)
    async def refused(error: ApplianceError) -> Response:
        return answer(error)

    @app.errorhandler(HTTPException)
    async def framework_refused(error: HTTPException) -> Response:
        response = answer(for_status(error.code or 500, _sentence(error)))
        for name, value in error.get_headers():
            if name.lower() in ("allow", "location"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    async def failed(error: Exception) -> Response:
        if isinstance(error, OSError) and not isinstance(error, trio.BrokenResourceError):
            kit.trace.event("storage.failed", error=str(error))
            return answer(from_os_error(error))
        kit.trace.event(
            "handler.failed",
            error=f"{type(error).__name__}: {error}",
            traceback="".join(traceback.format_exception(error)),
        )
        return answer(Internal("The server failed; its trace tells more."))

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok", content_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> tuple[dict[str, dict[str, str]], int]:
        return kit.health.report(), 200 if kit.health.ready() else 503

    app.asgi_app = traced(app.asgi_app, kit)  # type: ignore[method-assign]
    return app


def traced(inner: Callable[..., Awaitable[None]], kit: Kit) -> Any:
    """*inner* with the push of each request joined, echoed, and told to the trace."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        headers = dict(scope["headers"])
        trace = headers.get(TRACE_HEADER.lower().encode(), b"")[:200]
        sender = headers.get(SENDER_HEADER.lower().encode(), b"").decode("latin-1")
        token = current_trace.set(trace.decode("latin-1"))
        began = trio.current_time()
        status = 0

        async def tell(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if trace:
                    echoed = (TRACE_HEADER.lower().encode(), trace)
                    message = message | {"headers": [*message["headers"], echoed]}
            await send(message)

        try:
            await inner(scope, receive, tell)
        finally:
            if sender:
                kit.trace.event(
                    "http.served",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round((trio.current_time() - began) * 1000, 1),
                    sender=sender,
                )
            current_trace.reset(token)

    return outer


def _sentence(error: Any) -> str:
    if error.code == 404:
        return "There is nothing at this path."
    if error.code == 405:
        return "This path does not have that method."
    if error.code == 413:
        return f"The body is larger than the limit of {MAX_BODY} bytes."
    return str(error.description or error.name)
