"""One client's connection, without a socket: what its commands do, and what it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.bus import Message
from appliance.kernel.bus.listener.hub import Hub
from appliance.kernel.bus.listener.options import Options
from appliance.kernel.bus.listener.session import CHUNK, Session
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.bus.wire_headers import WireHeaders

QUIET = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


class Wire:
    """A hub on a local bus, and clients whose sockets are lists."""

    def __init__(self, **options: Any) -> None:
        self.bus = LocalBus()
        self.reports: list[tuple[str, dict[str, object]]] = []
        self.hub = Hub(
            bus=self.bus,
            options=Options(**options),
            server_id="N",
            host="127.0.0.1",
            port=4222,
            report=lambda what, **data: self.reports.append((what, data)),
            wake=lambda: None,
        )

    def client(self, *said: bytes) -> Client:
        return Client(self.hub, *said)

    def listening(self) -> int:
        return sum(1 for _ in self.bus.subscriptions())


class Client:
    """One of them; it reads only when it is asked to."""

    def __init__(self, hub: Hub, *said: bytes) -> None:
        self.session = Session(hub, hub.connections + 1, ("127.0.0.1", 5), now=0.0)
        self.info = json.loads(self.read().removeprefix(b"INFO "))
        for piece in said:
            self.say(piece)
            self.read()

    def say(self, data: bytes, now: float = 0.0) -> Client:
        self.session.receive(data, now)
        return self

    def read(self, now: float = 0.0) -> bytes:
        """All that the client was sent since it last read."""
        got = b""
        while data := self.session.take(now):
            got += data
            self.session.sent(len(data), now)
        return got


def test_info_tells_what_a_client_has_to_know() -> None:
    """And that a login is needed only when it is."""
    info = Wire(max_payload=500).client().info
    assert (info["max_payload"], info["headers"], info["proto"], info["port"]) == (
        500,
        True,
        1,
        4222,
    )
    assert "auth_required" not in info
    assert Wire(token="t").client().info["auth_required"] is True


def test_who_does_not_connect_gets_an_answer_to_every_line() -> None:
    """As somebody with telnet expects; messages of one's own come after the answer."""
    client = Wire().client()
    client.say(b"SUB a.> 1\r\nPUB a.b re 2\r\nhi\r\nUNSUB 1\r\nPING\r\n")
    assert client.read() == b"+OK\r\n+OK\r\nMSG a.b 1 re 2\r\nhi\r\n+OK\r\nPONG\r\n"


def test_connect_can_turn_the_answers_off() -> None:
    """A second CONNECT changes only what it names."""
    client = Wire().client(b'CONNECT {"verbose":false}\r\n', b'CONNECT {"echo":false}\r\n')
    client.say(b"SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n")
    assert client.read() == b"PONG\r\n"


@pytest.mark.parametrize(
    "said",
    [b"{", b"", b"[]", b'"x"', b"1", b'{"verbose":1}', b'{"verbose":"yes"}',
     b'{"user":null,"name":[]}',
     b'{"protocol":"1"}', b"[" * 3000, b"\xff\xfe", b"nonsense", b"NaN"],
)  # fmt: skip
def test_a_connect_that_is_no_json_object_ends_the_connection(said: bytes) -> None:
    """Without a word, as nats-server ends it; nothing else happens."""
    wire = Wire()
    client = wire.client().say(b"CONNECT " + said + b"\r\n")
    assert client.session.closed
    assert client.read() == b""
    assert not wire.hub.sessions


@pytest.mark.parametrize(
    ("options", "said", "taken"),
    [
        ({"user": "ann", "password": "pä"}, {"user": "ann", "pass": "pä"}, True),
        ({"user": "ann", "password": "pä"}, {"user": "ann", "pass": "pa"}, False),
        ({"user": "ann", "password": "pä"}, {"user": "bob", "pass": "pä"}, False),
        ({"user": "ann", "password": ""}, {}, False),
        ({"user": "ann", "password": "x", "token": "t"}, {"auth_token": "t"}, True),
        ({"token": "t"}, {"auth_token": "T"}, False),
        ({"token": "t"}, {"user": "", "pass": ""}, False),
        ({}, {"user": "whoever", "pass": "any"}, True),
        ({}, {"account": "other"}, False),
    ],
)
def test_login(options: dict[str, str], said: dict[str, str], taken: bool) -> None:
    """By user and password or by token, where one is set."""
    client = Wire(**options).client()
    client.say(b"CONNECT " + json.dumps(said | {"verbose": False}).encode() + b"\r\nPING\r\n")
    assert client.read() == (b"PONG\r\n" if taken else b"-ERR 'Authorization Violation'\r\n")
    assert bool(client.session.closed) is not taken


def test_nothing_can_be_done_before_the_login() -> None:
    """Neither heard nor published."""
    wire = Wire(token="t")
    for command in (b"SUB > 1\r\n", b"PUB a 1\r\nx\r\n", b"PING\r\n"):
        client = wire.client().say(command)
        assert client.read() == b"-ERR 'Authorization Violation'\r\n"
    assert wire.listening() == 0


def test_no_responders_needs_headers() -> None:
    """They are how it is told."""
    client = Wire().client().say(b'CONNECT {"no_responders":true}\r\n')
    assert client.read() == b"-ERR 'no responders requires headers support'\r\n"


@pytest.mark.parametrize(
    "subject",
    [
        b"a..b",
        b".a",
        b"a.",
        b"a.*",
        b">",
        b"a\x00b",
        b"\xff",
        b"a" * 1025,
        b"a\x7f",
        "a\u2028b".encode(),
    ],
)
@pytest.mark.parametrize("pedantic", [b"true", b"false"])
def test_what_no_room_could_send_is_not_published(subject: bytes, pedantic: bytes) -> None:
    """Neither as subject nor as reply subject; the connection stays."""
    wire = Wire()
    client = wire.client(b'CONNECT {"verbose":false,"pedantic":%b}\r\n' % pedantic, b"SUB > 1\r\n")

    client.say(b"PUB %b 2\r\nhi\r\nPUB a %b 2\r\nhi\r\nPUB b 2\r\nhi\r\n" % (subject, subject))

    error = b"-ERR 'Invalid Publish Subject'\r\n"
    assert client.read() == error + error + b"MSG b 1 2\r\nhi\r\n"


@pytest.mark.parametrize("pattern", [b"a..b", b"a.>.b", b".", b"a.b*", b"\xff", b"a" * 1025])
def test_what_nothing_can_match_is_not_subscribed(pattern: bytes) -> None:
    """The connection stays."""
    wire = Wire()
    client = wire.client(QUIET).say(b"SUB %b 1\r\nPING\r\n" % pattern)
    assert client.read() == b"-ERR 'Invalid Subject'\r\nPONG\r\n"
    assert wire.listening() == 0


def test_unsub_after_a_number_of_messages() -> None:
    """Counted from the first one, and over what has come before."""
    wire = Wire()
    early = wire.client(QUIET, b"SUB a 1\r\nUNSUB 1 2\r\n")
    late = wire.client(QUIET, b"SUB a 9\r\nPUB a 1\r\n1\r\nUNSUB 9 1\r\n")
    assert late.session.subscriptions == {}
    late.say(b"PUB a 1\r\n2\r\nPUB a 1\r\n3\r\n")
    assert early.read() == b"MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n"
    assert late.read() == b""
    assert wire.listening() == 0


def test_a_second_sub_with_the_same_sid_changes_nothing() -> None:
    """And UNSUB of one that is unknown is no mistake."""
    wire = Wire()
    client = wire.client(QUIET, b"SUB a 1\r\nSUB b 1\r\nUNSUB 7\r\n")
    assert [one.pattern for one in client.session.subscriptions.values()] == ["a"]
    assert wire.listening() == 1


def test_subscriptions_are_limited() -> None:
    """One more is refused, and the others live on."""
    wire = Wire(max_subscriptions=3)
    client = wire.client(QUIET)
    client.say(b"".join(b"SUB a %d\r\n" % number for number in range(5)))
    assert client.read() == b"-ERR 'maximum subscriptions exceeded'\r\n" * 2
    assert wire.listening() == 3


def test_echo_can_be_turned_off() -> None:
    """One's own messages go to others, and to others of one's queue group."""
    wire = Wire()
    mute = wire.client(b'CONNECT {"verbose":false,"echo":false}\r\n', b"SUB a 1\r\nSUB a q 2\r\n")
    other = wire.client(QUIET, b"SUB a q 3\r\n")
    for _ in range(3):
        mute.say(b"PUB a 1\r\nx\r\n")
    assert mute.read() == b""
    assert other.read() == b"MSG a 3 1\r\nx\r\n" * 3
    other.say(b"PUB a 1\r\ny\r\n")
    assert b"MSG a 1 1\r\ny\r\n" in mute.read()


def test_who_asks_nobody_is_told_so() -> None:
    """On the subscription that waits for the answer, when that was asked for."""
    wire = Wire()
    client = wire.client(QUIET, b"SUB _INBOX.x.* 7\r\n")
    client.say(b"PUB nobody _INBOX.x.1 1\r\n?\r\nPUB nobody 1\r\n?\r\nPUB nobody other 1\r\n?\r\n")
    assert client.read() == b"HMSG _INBOX.x.1 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"

    old = wire.client(b'CONNECT {"verbose":false}\r\n', b"SUB _INBOX.y 7\r\n")
    assert old.say(b"PUB nobody _INBOX.y 1\r\n?\r\n").read() == b""


async def test_headers_between_rooms_and_clients() -> None:
    """Byte by byte between clients, read for rooms, and left out for who does not know them."""
    wire = Wire()
    knows = wire.client(QUIET, b"SUB a 1\r\n")
    does_not = wire.client(b'CONNECT {"verbose":false}\r\n', b"SUB a 2\r\n")
    block = b"NATS/1.0\r\nA:1\r\nA: 2\r\n  bad line\r\nB: \xc3\xa4 \r\n\r\n"
    async with wire.bus.subscribe("a") as room:
        knows.say(b"HPUB a re %d %d\r\n%bhi\r\n" % (len(block), len(block) + 2, block))
        got = await room.receive()
    assert got == Message("a", b"hi", "re", {"A": "1", "B": "ä"})
    assert knows.read() == b"HMSG a 1 re %d %d\r\n%bhi\r\n" % (len(block), len(block) + 2, block)
    assert does_not.read() == b"MSG a 2 re 2\r\nhi\r\n"

    wire.bus.publish("a", b"yo", headers={"Room": "dea"})
    assert knows.read() == b"HMSG a 1 23 25\r\nNATS/1.0\r\nRoom: dea\r\n\r\nyo\r\n"


@pytest.mark.parametrize(
    ("block", "read"),
    [
        (b"", {}),
        (b"garbage", {}),
        (b"NATS/1.0\r\n\r\n", {}),
        (b"NATS/1.0 503 No Responders\r\n\r\n", {"Status": "503", "Description": "No Responders"}),
        (b"NATS/1.0\r\nA: b\rc\r\nD: e\nf\r\nG: h\r\n\r\n", {"G": "h"}),
        (b"NATS/1.0\r\n: x\r\nb c: d\r\nE:\r\n\r\n", {"E": ""}),
        (b"NATS/1.0\r\nA: \xff\r\n\r\n", {"A": "\ufffd"}),
        (b"NATS/1.0\r\nA: " + b"x" * 5000 + b"\r\nB: c\r\n\r\n", {"B": "c"}),
    ],
)
def test_rooms_see_only_headers_that_they_can_send_on(block: bytes, read: dict[str, str]) -> None:
    """What they may not have is left out, and nothing of it raises."""
    headers = WireHeaders(block)
    assert dict(headers) == read
    LocalBus().publish("a", headers=headers)


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """What waits is bounded; it is told that it was too slow, and takes part no more."""
    wire = Wire(max_pending=1000)
    slow, quick = wire.client(QUIET, b"SUB a 1\r\n"), wire.client(QUIET, b"SUB a 2\r\n")
    for number in range(20):
        wire.bus.publish("a", bytes(100))
        assert slow.session.pending <= 1000
        assert b"MSG a 2 100" in quick.read(), number
    assert slow.session.closed
    assert slow.read() == b"-ERR 'Slow Consumer'\r\n"
    assert wire.listening() == 1
    assert wire.hub.slow_consumers == 1
    assert wire.reports[-1] == ("client.disconnected", {"cid": 1, "why": "Slow Consumer"})


def test_answers_to_pings_are_bounded_too() -> None:
    """A client that only asks and never reads costs no more than `max_pending`."""
    client = Wire(max_pending=1000).client()
    client.say(b"PING\r\n" * 10_000)
    assert client.session.closed
    assert client.read() == b"-ERR 'Slow Consumer'\r\n"


def test_a_full_socket_is_waited_for_only_so_long() -> None:
    """The deadline counts from the last byte that it took."""
    wire = Wire(write_deadline=10)
    client = wire.client(QUIET, b"SUB a 1\r\n")
    wire.bus.publish("a", bytes(100))
    taken = client.session.take(now=50.0)
    client.session.sent(10, now=55.0)
    client.session.tick(64.0)
    assert not client.session.closed
    client.session.tick(66.0)
    assert client.session.closed
    assert len(taken) - 10 <= client.session.pending < len(taken) + 40  # and the last words


def test_large_queues_leave_in_chunks() -> None:
    """Complete and in order."""
    wire = Wire()
    client = wire.client(QUIET, b"SUB a 1\r\n")
    expected = b""
    for number in range(20):
        data = b"%d" % number * 50_000
        wire.bus.publish("a", data)
        expected += b"MSG a 1 %d\r\n%b\r\n" % (len(data), data)
    first = client.session.take(0.0)
    assert CHUNK <= len(first) < 2 * CHUNK
    client.session.sent(len(first), 0.0)
    assert first + client.read() == expected
    assert client.session.pending == 0


def test_silence_is_asked_about_and_then_given_up() -> None:
    """After as many unanswered pings as allowed; an answer starts it again."""
    client = Wire(ping_interval=10, ping_max=2).client()
    session = client.session

    def at(now: float) -> bytes:
        session.tick(now)
        return client.read(now)

    assert [at(9), at(10), at(11), at(20)] == [b"", b"PING\r\n", b"", b"PING\r\n"]
    client.say(b"PONG\r\n", now=21.0)
    assert session.rtt == 1.0
    assert [at(30), at(31), at(41), at(51)] == [
        b"", b"PING\r\n", b"PING\r\n", b"-ERR 'Stale Connection'\r\n",
    ]  # fmt: skip
    assert session.closed


def test_a_client_that_has_connected_is_pinged_early_once() -> None:
    """To learn how far away it is, and never again while it talks."""
    client = Wire(ping_interval=10).client(QUIET)
    for now in range(1, 30):
        client.say(b"PONG\r\n" if now == 2 else b"+OK\r\n", now)
        client.session.tick(now)
        assert client.read() == (b"PING\r\n" if now == 1 else b"")


def test_the_login_has_to_come_in_time() -> None:
    """Whoever has logged in has all the time."""
    wire = Wire(token="t", auth_timeout=2)
    silent = wire.client(b"CONNE")
    known = wire.client(b'CONNECT {"auth_token":"t","verbose":false}\r\n')
    for client in (silent, known):
        client.session.tick(0.5)
        client.session.tick(2.5)
    assert silent.read() == b"-ERR 'Authentication Timeout'\r\n"
    assert silent.session.closed
    assert not known.session.closed


def test_nothing_is_left_of_a_client() -> None:
    """Its subscriptions go, its figures stay in the totals, and the operator is told."""
    wire = Wire()
    for number in range(50):
        client = wire.client(
            QUIET, b"SUB a.%d 1\r\nSUB b q 2\r\nPUB a.%d 1\r\nx\r\n" % (number, number)
        )
        client.session.end("The client has hung up.")
        client.session.lost()
        wire.hub.dirty.clear()
    assert wire.listening() == 0
    assert not wire.hub.sessions
    assert wire.hub.totals().in_msgs == wire.hub.totals().out_msgs == 50
    assert wire.hub.connections == 50
    assert [what for what, _ in wire.reports] == ["client.connected", "client.disconnected"] * 50


async def test_a_closed_bus_ends_who_still_publishes() -> None:
    """As does a mistake: nothing is raised."""
    wire = Wire()
    client = wire.client(QUIET)
    await wire.bus.aclose()
    client.say(b"PUB a 1\r\nx\r\n")
    assert client.session.closed


async def test_a_room_and_a_client_share_a_queue_group() -> None:
    """Each message goes to one of them, and both get their share."""
    wire = Wire()
    client = wire.client(QUIET, b"SUB work q 1\r\n")
    got: list[bytes] = []
    async with wire.bus.subscribe("work", queue="q") as room, trio.open_nursery() as nursery:

        async def collect() -> None:
            while True:
                got.append((await room.receive()).data)

        nursery.start_soon(collect)
        outside = b""
        for number in range(100):
            wire.bus.publish("work", b"%03d" % number)
            if number % 10 == 9:
                await trio.testing.wait_all_tasks_blocked()
                outside += client.read()
        nursery.cancel_scope.cancel()
    there = [line for line in outside.split(b"\r\n") if line.isdigit()]
    assert sorted(got + there) == [b"%03d" % number for number in range(100)]
    assert min(len(got), len(there)) >= 30


PIECES = st.sampled_from(
    [QUIET, b"SUB a 1\r\n", b"SUB > 2\r\n", b"SUB a q 3\r\n", b"UNSUB 1 2\r\n", b"UNSUB 2\r\n",
     b"PUB a 2\r\nhi\r\n", b"PUB nobody a 2\r\nhi\r\n", b"PUB a. 2\r\nhi\r\n", b"PING\r\n",
     b"PONG\r\n", b"HPUB a 14 16\r\nNATS/1.0\r\nA:\r\nhi\r\n", b"HPUB \xff 0 0\r\n\r\n",
     b"SUB \xff \xfe\r\n",
     b'CONNECT {"echo":false}\r\n', b"CONNECT x\r\n", b"+OK\r\n"]
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 2), PIECES | st.binary(max_size=20)), max_size=40))
def test_whatever_clients_say_nothing_is_raised_and_nothing_left(
    said: list[tuple[int, bytes]],
) -> None:
    """Three clients on one bus; a fourth one hears what it should before and after."""
    wire = Wire()
    clients = [wire.client() for _ in range(3)]
    witness = wire.client(QUIET, b"SUB only.me 1\r\n")
    for number, piece in said:
        clients[number].say(piece)
        clients[number].session.tick(0.0)
    wire.bus.publish("only.me", b"x")
    assert witness.read() == b"MSG only.me 1 1\r\nx\r\n"
    for client in clients:
        client.session.end("The client has hung up.")
    assert wire.listening() == 1
    assert list(wire.hub.sessions.values()) == [witness.session]
