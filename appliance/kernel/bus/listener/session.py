"""One client's connection: what its commands do, and what it is sent. Pure.

No sockets and no clock: bytes and the time come in by `receive` and `tick`, bytes go out
by `take`. Whoever carries them has to call `sent`, and to close the socket once `closed`
is set and nothing is `pending`.
"""

from __future__ import annotations

import json
from collections import deque

from appliance.kernel.bus import BadSubject, BusClosed, Message
from appliance.kernel.bus.listener.connect import ClientOptions, check_connect, read_connect
from appliance.kernel.bus.listener.hub import Counters, Hub
from appliance.kernel.bus.listener.options import PROTOCOL, VERSION
from appliance.kernel.bus.listener.parser import (
    Connect,
    Event,
    Parser,
    Ping,
    Pong,
    ProtocolError,
    Pub,
    Sub,
    Unsub,
)
from appliance.kernel.bus.subjects import check_subject
from appliance.kernel.bus.wire_headers import NO_RESPONDERS, WireHeaders, encode

CHUNK = 256 * 1024  # bytes that are handed to the socket at once
SHARED = 8 * 1024  # bytes; larger payloads are not copied for each client
FIRST_PING = 1.0  # seconds after CONNECT, to learn how far away the client is

_NO_HEADERS: dict[str, str] = {}


class Subscription:
    """One SUB of a client, attached to the bus."""

    __slots__ = ("_batch", "_waiting", "delivered", "limit", "pattern", "queue", "session", "sid")

    def __init__(self, session: Session, pattern: str, queue: str, sid: str) -> None:
        self.session = session
        self.pattern = pattern
        self.queue = queue
        self.sid = sid
        self.delivered = 0
        self.limit = 0  # messages after which it ends by itself; 0 for none
        self._waiting = 0  # messages since the socket was last given all there was
        self._batch = 0  # of the session, when the first of them came

    @property
    def load(self) -> float:
        """As a mailbox: how many of its messages wait, not counting other subscriptions'."""
        session = self.session
        if session is session.hub.muted:
            return float("inf")  # the others of its queue group are asked first
        return self._waiting if self._batch == session.batch else 0

    def put(self, message: Message, size: int) -> None:
        """Queue *message* for the client."""
        session = self.session
        if session.closed or session is session.hub.muted:
            return
        headers, data, reply = message.headers, message.data, message.reply
        reply = f"{reply} " if reply else ""
        if headers and session.client.headers:
            block = encode(headers)
            total = len(block) + len(data)
            head = f"HMSG {message.subject} {self.sid} {reply}{len(block)} {total}\r\n"
            line = head.encode() + block
        else:
            line = f"MSG {message.subject} {self.sid} {reply}{len(data)}\r\n".encode()
        counters = session.counters
        counters.out_msgs += 1
        counters.out_bytes += size
        self.delivered += 1
        if self._batch != session.batch:
            self._batch, self._waiting = session.batch, 0
        self._waiting += 1
        if len(data) < SHARED:
            session.send(b"%b%b\r\n" % (line, data))
        else:
            session.send(line, data, b"\r\n")
        if self.limit and self.delivered >= self.limit:
            session.unsubscribe(self)


class Session:
    """The state of one connection."""

    def __init__(self, hub: Hub, cid: int, address: tuple[str, int], now: float) -> None:
        self.hub = hub
        self.cid = cid
        self.address = address
        self.began = now  # seconds on the carrier's clock, as all times here
        self.active = now  # when the client last said something
        self.progressed = now  # when the socket last took something, or got something to take
        self.client = ClientOptions()
        self.connected = False  # a CONNECT was accepted
        self.closed = ""  # why the connection ends; "" while it is open
        self.counters = Counters()
        self.subscriptions: dict[str, Subscription] = {}
        self.rtt = 0.0  # seconds; 0 before the first answer to a ping
        self.pending = 0  # bytes that the client has not been sent yet
        self.batch = 1  # counts how often the socket was given all there was
        self._out: deque[bytes] = deque()
        self._pings = 0  # unanswered
        self._ping_at = now
        self._parser = Parser(
            max_payload=hub.max_payload, max_control_line=hub.options.max_control_line
        )
        self._parser.only_connect = hub.options.auth_required
        hub.sessions[cid] = self
        hub.connections += 1
        self.send(b"INFO %b \r\n" % json.dumps(self._info(), separators=(",", ":")).encode())

    def _info(self) -> dict[str, object]:
        hub = self.hub
        info: dict[str, object] = {
            "server_id": hub.server_id,
            "server_name": "appliance",
            "version": VERSION,
            "proto": PROTOCOL,
            "host": hub.host,
            "port": hub.port,
            "headers": True,
            "max_payload": hub.max_payload,
            "client_id": self.cid,
            "client_ip": self.address[0],
        }
        return info | hub.demands()

    # What comes in.

    def receive(self, data: bytes, now: float) -> None:
        """Do what the client says in *data*. Whatever it says, nothing is raised."""
        self.active = now
        try:
            for event in self._parser.feed(data):
                if self.closed:
                    return
                if type(event) is Pub:
                    self._publish(event)
                else:
                    self._obey(event, now)
        except ProtocolError as error:
            self.end(str(error), error.answer)
        except BusClosed:
            self.end("The bus was closed.")

    def tick(self, now: float) -> None:
        """Do what is due: a ping, or giving up. To be called every so often."""
        options = self.hub.options
        if self.closed:
            return
        if self.pending and now - self.progressed > options.write_deadline:
            self._too_slow("The client has read nothing for too long.")
        elif self._parser.only_connect and now - self.began > options.auth_timeout:
            self.end("CONNECT did not come in time.", "Authentication Timeout")
        elif self._ping_is_due(now):
            if self._pings >= options.ping_max:
                self.end("The client no longer answers.", "Stale Connection")
                return
            self._pings += 1
            self._ping_at = now
            self.send(b"PING\r\n")

    def _ping_is_due(self, now: float) -> bool:
        if self.connected and not self.rtt and not self._pings:
            return now - self.began >= FIRST_PING
        interval = self.hub.options.ping_interval
        return now - self.active >= interval and now - self._ping_at >= interval

    def _obey(self, event: Event, now: float) -> None:
        if isinstance(event, Ping):
            self.send(b"PONG\r\n")
        elif isinstance(event, Sub):
            self._subscribe(event)
        elif isinstance(event, Unsub):
            self._unsubscribe(event)
        elif isinstance(event, Connect):
            self._connect(event)
        elif isinstance(event, Pong):
            if self._pings:
                self.rtt = max(now - self._ping_at, 1e-9)
            self._pings = 0

    def _connect(self, event: Connect) -> None:
        self.client = read_connect(event.options, self.client)
        check_connect(self.client, self.hub.options)
        self._parser.only_connect = False
        self._parser.headers = self.client.headers
        if not self.connected:
            self.connected = True
            self.hub.report(
                "client.connected", cid=self.cid, name=self.client.name, lang=self.client.lang
            )
        self._ok()

    def _publish(self, event: Pub) -> None:
        raw_subject, raw_reply, headers, data = event
        hub, counters = self.hub, self.counters
        size = len(headers) + len(data)
        counters.in_msgs += 1
        counters.in_bytes += size
        try:
            message = Message(
                raw_subject.decode(),
                data,
                raw_reply.decode(),
                WireHeaders(headers) if headers else _NO_HEADERS,
            )
            if self.client.verbose:
                check_subject(message.subject)
                if message.reply:
                    check_subject(message.reply)
                self._ok()  # ahead of the message, which may be our own to receive
            if not self.client.echo:
                hub.muted = self
            heard = hub.bus.forward(message, size)
        except (BadSubject, UnicodeDecodeError):
            self._error("Invalid Publish Subject")
            self._ok()
            return
        finally:
            hub.muted = None
        if not heard and message.reply and self.client.no_responders:
            self._nobody_listens(message.reply)

    def _nobody_listens(self, reply: str) -> None:
        """Tell the client so, where it waits for its answer."""
        for receiver in self.hub.bus.listeners(reply):
            if isinstance(receiver, Subscription) and receiver.session is self:
                size = len(NO_RESPONDERS)
                head = f"HMSG {reply} {receiver.sid} {size} {size}\r\n"
                self.send(b"%b%b\r\n" % (head.encode(), NO_RESPONDERS))
                return

    def _subscribe(self, event: Sub) -> None:
        if len(self.subscriptions) >= self.hub.options.max_subscriptions:
            self._error("maximum subscriptions exceeded")
            return
        try:
            pattern, queue, sid = (part.decode() for part in event)
            if sid not in self.subscriptions:
                subscription = Subscription(self, pattern, queue, sid)
                self.hub.bus.attach(subscription, pattern, queue=queue)
                self.subscriptions[sid] = subscription
        except (BadSubject, UnicodeDecodeError):
            self._error("Invalid Subject")
            return
        self._ok()

    def _unsubscribe(self, event: Unsub) -> None:
        subscription = self.subscriptions.get(event.sid.decode("utf-8", "replace"))
        if subscription is not None:
            if event.limit > subscription.delivered:
                subscription.limit = event.limit
            else:
                self.unsubscribe(subscription)
        self._ok()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Let *subscription* hear no more."""
        if self.subscriptions.pop(subscription.sid, None) is not None:
            self.hub.bus.detach(subscription, subscription.pattern, queue=subscription.queue)

    def _ok(self) -> None:
        if self.client.verbose:
            self.send(b"+OK\r\n")

    def _error(self, text: str) -> None:
        self.send(_error(text))

    def end(self, why: str, answer: str = "") -> None:
        """Say *answer*, if any, and take part no more; what waits is still sent."""
        if self.closed:
            return
        if answer:
            self._queue(_error(answer))
        self.closed = why
        for subscription in list(self.subscriptions.values()):
            self.unsubscribe(subscription)
        self.hub.dirty[self] = None
        self.hub.wake()
        self.hub.sessions.pop(self.cid, None)
        self.hub.past.add(self.counters)
        self.hub.report("client.disconnected", cid=self.cid, why=answer or why)

    # What goes out.

    def send(self, *pieces: bytes) -> None:
        """Queue *pieces*, which belong together, unless too much waits already."""
        if self.closed:
            return
        self._queue(*pieces)
        if self.pending > self.hub.options.max_pending:
            self._too_slow("Too much waits for the client.")
        elif self not in self.hub.dirty:
            self.hub.dirty[self] = None
            self.hub.wake()

    def _queue(self, *pieces: bytes) -> None:
        self._out.extend(pieces)
        self.pending += sum(map(len, pieces))

    def _too_slow(self, why: str) -> None:
        """Forget what waits, and tell the client, if it ever reads on, that it lost messages."""
        self.hub.slow_consumers += 1
        self.pending -= sum(map(len, self._out))
        self._out.clear()
        self.end(why, "Slow Consumer")

    def take(self, now: float) -> bytes:
        """The next bytes for the socket, some `CHUNK` at most; they stay pending until `sent`.

        To be called when the socket has taken all that was taken before.
        """
        out = self._out
        self.progressed = now
        if self.pending <= CHUNK:
            self.batch += 1
            data = b"".join(out)
            out.clear()
            return data
        pieces, size = [], 0
        while out and size < CHUNK:
            pieces.append(out.popleft())
            size += len(pieces[-1])
        return b"".join(pieces)

    def sent(self, count: int, now: float) -> None:
        """The socket took *count* bytes of what `take` gave."""
        self.pending -= count
        self.progressed = now

    def lost(self) -> None:
        """The socket is gone: nothing can be sent any more."""
        self._out.clear()
        self.pending = 0


def _error(text: str) -> bytes:
    return f"-ERR '{text}'\r\n".encode()
