"""One request on one connection to an app: the head over, bodies both ways, the answer back."""

from __future__ import annotations

import socket
from contextlib import suppress
from math import inf

import trio

from appliance.router.answer import (
    MAX_ANSWER_HEAD,
    Answer,
    BadAnswer,
    read_answer,
    respond,
)
from appliance.router.chunks import BadChunk
from appliance.router.head import Request
from appliance.router.pool import AppWire
from appliance.router.refusals import CLIENT_SLOW, ENDPOINT_SLOW
from appliance.router.relay import Flow
from appliance.router.sticky import SESSION, session_cookie
from appliance.router.watch import Limit
from appliance.router.wire import AppLost, ClientLost, Wire

STALLED = 60.0  # seconds in which a client must send, or take, at least something
HALF_CLOSED = 10.0  # seconds that one side of a tunnel goes on after the other has ended
MAX_INTERIM = 20  # 1xx answers before the real one


class BadBody(Exception):
    """The client's body breaks a rule; the text is a sentence."""


class Exchange:
    """What is under way between a client and an app.

    Args:
      down: The limit of the answer's direction.
      up: The limit of the request body's direction.
      app_timeout: Seconds for the app to begin its answer, and for its silence within one.
      instance: The endpoint's id, for sticky sessions.
    """

    uploaded = False  # the request's body has been read to its end
    delivered = False  # all of the request was sent to the app
    heard = False  # the app has answered something
    status = 0  # that was sent to the client; 0 while nothing was
    tunnel = False
    keep = False  # the client's connection can be used again
    reusable = False  # the app's connection can be used again
    received = 0  # bytes of the body that came with the head
    sent = 0  # bytes of the answer's body, when it was sent without a flow
    _upload_failed: Exception | None = None
    _uploading: Flow | None = None
    _answering: Flow | None = None

    def __init__(
        self,
        request: Request,
        client: Wire,
        app: AppWire,
        *,
        down: Limit,
        up: Limit,
        app_timeout: float,
        request_id: bytes,
        instance: str,
        closing: bool,
    ) -> None:
        self.request = request
        self.client = client
        self.app = app
        self.down = down
        self.up = up
        self.app_timeout = app_timeout
        self.request_id = request_id
        self.instance = instance
        self.closing = closing

    @property
    def bytes_received(self) -> int:
        """Bytes of the request's body that were sent on."""
        return self.received + (self._uploading.count if self._uploading else 0)

    @property
    def bytes_sent(self) -> int:
        """Bytes of the answer's body that were sent on."""
        return self._answering.count if self._answering else self.sent

    async def run(self, head: bytes, body: bytes | None) -> None:
        """Send *head* and the body, and give the client the answer.

        Args:
          body: All of it; None when it is still to be read from the client.

        Raises:
          AppLost, BadAnswer: the app did not answer, or not to its end.
          ClientLost, BadBody: the client went away, or its body breaks a rule.
        """
        if body is not None:
            self._uploaded()
            self.received = len(body)
            try:
                await self.app.send(head + body)
                self.delivered = True
            except AppLost:
                pass  # it may have answered without reading; then only the answer counts
            await self._answer()
            return
        failed: Exception | None = None
        self.down.clear()  # the app's time begins when it has the whole request
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload, head, nursery.cancel_scope)
            try:
                await self._answer()
            except (AppLost, ClientLost, BadAnswer) as error:
                failed = error
            nursery.cancel_scope.cancel()
        failed = self._upload_failed or failed
        if failed is not None:
            raise failed

    async def _upload(self, head: bytes, scope: trio.CancelScope) -> None:
        flow = self._uploading = Flow(
            self.client,
            self.app,
            self.up,
            patience=(STALLED, CLIENT_SLOW),
            stall=(self.app_timeout, ENDPOINT_SLOW),
            finished=self._uploaded,
        )
        try:
            if self.request.chunked:
                await flow.chunks(head, chunked=True)
            else:
                await flow.exactly(head, self.request.length)
            self.delivered = True
        except ClientLost as error:
            self._upload_failed = error
            scope.cancel()
        except BadChunk as error:
            self._upload_failed = BadBody(str(error))
            scope.cancel()
        except AppLost:
            # It may have answered before it stopped reading: the other task finds out.
            pass
        self.up.clear()

    def _uploaded(self) -> None:
        self.uploaded = True
        if not self.status:
            self.down.within(self.app_timeout, ENDPOINT_SLOW)

    async def _answer(self) -> None:
        for _ in range(MAX_INTERIM):
            answer = read_answer(await self._answer_head(), self.request.method)
            if answer.status == 101:
                await self._switch(answer)
                return
            if answer.status >= 200:
                await self._final(answer)
                return
            if self.request.minor:  # HTTP/1.0 knows no interim answers
                await self.client.send(respond(self.request, answer, b"", close=False)[0])
        raise BadAnswer("The app sends interim answers only.")

    async def _answer_head(self) -> bytes:
        app = self.app
        while True:
            end = app.buffer.find(b"\r\n\r\n", 0, MAX_ANSWER_HEAD + 4)
            if end >= 0:
                self.heard = True
                return app.take(end + 4)
            if len(app.buffer) > MAX_ANSWER_HEAD:
                raise BadAnswer(f"The head of the answer is above {MAX_ANSWER_HEAD} bytes.")
            first = app.buffer.find(b"\n")
            if first >= 0 and app.buffer[first - 1 : first] != b"\r":
                raise BadAnswer("A line of the answer's head ends in a bare LF.")
            if not await app.fill():
                if app.buffer:
                    raise BadAnswer("The answer ended in the middle of its head.")
                raise AppLost("The app closed the connection without an answer.")
            self.heard = True

    async def _final(self, answer: Answer) -> None:
        sticky = self.instance and SESSION in answer.fixed
        cookie = session_cookie(answer, self.instance) if sticky else None
        # An answer that comes before the end of the request ends the connection: nobody
        # can tell how much of the body is still to be read away.
        close = self.closing or not self.request.keep_alive or not self.uploaded
        head, close = respond(self.request, answer, self.request_id, close=close, extra=cookie)
        self.status = answer.status
        length = answer.length
        if length is not None and length <= len(self.app.buffer):
            # Most answers: all of it is here, and needs no flow.
            self.down.within(STALLED)
            await self.client.send(head + self.app.take(length) if length else head)
            self.sent = length
            self.reusable = answer.keep_alive and self.delivered
            self.keep = not close
            return
        flow = self._answering = Flow(
            self.app,
            self.client,
            self.down,
            patience=(self.app_timeout, None),
            stall=(STALLED, None),
        )
        try:
            if length is not None:
                await flow.exactly(head, length)
            elif answer.chunked:
                await flow.chunks(head, chunked=bool(self.request.minor))
            else:
                await flow.rest(head, chunked=bool(self.request.minor))
        except BadChunk as error:
            self.status = answer.status if flow.begun else 0
            raise BadAnswer(str(error)) from error
        framed = length is not None or answer.chunked
        self.reusable = framed and answer.keep_alive and self.delivered
        self.keep = not close

    async def _switch(self, answer: Answer) -> None:
        """Hand over to the protocol that both have agreed on: bytes, both ways."""
        if not self.request.upgrade:
            raise BadAnswer("The app switches protocols without being asked.")
        self.status = 101
        self.tunnel = True
        self.down.clear()
        for wire in (self.client, self.app):
            with suppress(OSError):
                wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        head, _ = respond(self.request, answer, self.request_id, close=False)
        ever = (inf, None)
        down = Flow(self.app, self.client, self.down, patience=ever, stall=ever)
        up = Flow(self.client, self.app, self.up, patience=ever, stall=ever)
        self._answering, self._uploading = down, up
        async with trio.open_nursery() as nursery:

            async def one_way(flow: Flow, target: Wire, head: bytes) -> None:
                try:
                    await flow.rest(head, chunked=False)
                except (AppLost, ClientLost):
                    nursery.cancel_scope.cancel()
                    return
                target.finish()
                nursery.cancel_scope.deadline = trio.current_time() + HALF_CLOSED

            nursery.start_soon(one_way, up, self.app, b"")
            await one_way(down, self.client, head)
