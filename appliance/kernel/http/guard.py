"""The guard around every handler: whatever it raises becomes an answer, and nothing ends."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.errors import ClientGone, Internal, PresentError, TooSlow, from_os_error
from appliance.kernel.trace import SENDER_HEADER, TRACE_HEADER, current_trace

if TYPE_CHECKING:
    from appliance.kernel.kit import Kit


async def run_blob(blob: Blob, exchange: Exchange, kit: Kit, present_error: PresentError) -> bytes:
    """Run a blob route's handler in its guard; the bytes of the next request.

    Whatever the handler raises becomes an answer, or a closed connection when the
    answer had begun. Only cancellation passes through.
    """
    trace = exchange.headers.get(TRACE_HEADER.lower(), "")[:200]
    token = current_trace.set(trace)
    if trace:
        exchange.answer_headers[TRACE_HEADER] = trace
    began = trio.current_time()
    try:
        await _guarded(blob, exchange, kit, present_error)
        return await exchange.finish()
    finally:
        exchange.release()
        sender = exchange.headers.get(SENDER_HEADER.lower(), "")
        if sender:
            kit.trace.event(
                "http.served",
                method=exchange.method,
                path=exchange.path,
                status=exchange.status,
                ms=round((trio.current_time() - began) * 1000, 1),
                sender=sender,
            )
        current_trace.reset(token)


async def _guarded(blob: Blob, exchange: Exchange, kit: Kit, present_error: PresentError) -> None:
    failure: ApplianceError
    try:
        await blob.handler(exchange)
        if exchange.status:
            return
        failure = Internal("The server has no answer to this.")
        kit.trace.event("handler.failed", path=exchange.path, error="no answer was made")
    except (ClientGone, TooSlow) as error:
        exchange.close = True
        failure = error
    except ApplianceError as error:
        failure = error
    except OSError as error:
        failure = from_os_error(error)
        kit.trace.event("storage.failed", path=exchange.path, error=str(error))
    except Exception as error:
        exchange.close = True
        failure = Internal("The server failed; its trace tells more.")
        report(kit, "handler.failed", error, path=exchange.path)
    if exchange.status:
        exchange.close = True  # the answer had begun: cutting it short is the only sign left
        return
    status, headers, body = present_error(failure)
    with suppress(ClientGone, TooSlow):
        await exchange.reply(status, body, headers=headers)


def report(kit: Kit, what: str, error: BaseException, **data: str) -> None:
    """Put a bug's traceback into the trace."""
    text = "".join(traceback.format_exception(error))
    kit.trace.event(what, error=f"{type(error).__name__}: {error}", traceback=text, **data)


def without(error: Exception, *kinds: type[BaseException]) -> BaseException | None:
    """*error* without the expected *kinds*; None when nothing else is in it."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(kinds)[1]
    return None if isinstance(error, kinds) else error
