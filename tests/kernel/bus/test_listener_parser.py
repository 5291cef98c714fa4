"""The listener's parser: however a stream is cut, and whatever it is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.bus.listener.parser import (
    LINE_TOO_LONG,
    PAYLOAD_TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN,
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

MAX_PAYLOAD = 1000
MAX_LINE = 64


def parser(*, only_connect: bool = False, headers: bool = True) -> Parser:
    made = Parser(max_payload=MAX_PAYLOAD, max_control_line=MAX_LINE)
    made.only_connect, made.headers = only_connect, headers
    return made


def parsed(*pieces: bytes, using: Parser | None = None) -> tuple[list[Event], str | None]:
    """The events of *pieces*, and the answer to the mistake in them, None without one."""
    using = using or parser()
    events: list[Event] = []
    for piece in pieces:
        try:
            events.extend(using.feed(piece))
        except ProtocolError as error:
            return events, error.answer
    return events, None


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """*stream* in pieces that begin at *places*."""
    bounds = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[begin:end] for begin, end in pairwise(bounds)]


WORDS = st.text("abc.*>$_", min_size=1, max_size=12).map(str.encode)
VERBS = st.sampled_from(
    [str.encode, lambda verb: verb.lower().encode(), lambda v: v.title().encode()]
)
GAPS = st.sampled_from([b" ", b"\t", b"  "])
ENDS = st.sampled_from([b"\r\n", b"\n"])
DATA = st.binary(max_size=80)


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, Event | None]:
    """One correct frame, and what it says."""
    spelled, gap, end = draw(VERBS), draw(GAPS), draw(ENDS)

    def line(verb: str, *words: bytes) -> bytes:
        return gap.join([spelled(verb), *words]) + end

    kind = draw(
        st.sampled_from(["ping", "pong", "ok", "info", "sub", "unsub", "connect", "pub", "hpub"])
    )
    one, two, three = draw(WORDS), draw(WORDS), draw(WORDS)
    data, headers = draw(DATA), draw(DATA)
    reply = draw(st.booleans())
    words = [one, two] if reply else [one]
    match kind:
        case "ping":
            return line("PING"), Ping()
        case "pong":
            return line("PONG"), Pong()
        case "ok":
            return line("+OK"), None
        case "info":
            return line("INFO", b"{}"), None
        case "sub":
            found = Sub(one, two, three) if reply else Sub(one, b"", three)
            return line("SUB", *words, three), found
        case "unsub":
            number = draw(st.integers(0, 999))
            if reply:
                return line("UNSUB", one, b"%d" % number), Unsub(one, number)
            return line("UNSUB", one), Unsub(one, -1)
        case "connect":
            return line("CONNECT", b'{"verbose":false}'), Connect(b'{"verbose":false}')
        case "pub":
            head = line("PUB", *words, b"%d" % len(data))
            return head + data + b"\r\n", Pub(one, two if reply else b"", b"", data)
        case _:
            sizes = (b"%d" % len(headers), b"%d" % (len(headers) + len(data)))
            payload = headers + data + b"\r\n"
            found_pub = Pub(one, two if reply else b"", headers, data)
            return line("HPUB", *words, *sizes) + payload, found_pub


@given(st.lists(frames(), max_size=12), st.lists(st.integers(0, 5000), max_size=30))
def test_any_cut_gives_the_same_events(
    stream: list[tuple[bytes, Event | None]], places: list[int]
) -> None:
    """What the network does to a stream cannot be seen in its events."""
    expected = [event for _, event in stream if event is not None]
    pieces = cut(b"".join(frame for frame, _ in stream), places)

    used = parser()
    assert parsed(*pieces, using=used) == (expected, None)
    assert used.held == 0


BROKEN = st.lists(
    st.one_of(
        frames().map(lambda frame: frame[0]),
        st.binary(max_size=40),
        st.sampled_from(
            [b"PUB", b"HPUB a 3 2\r\n", b"SUB\r\n", b"PUB a -1\r\n", b"\r\n", b"\x00",
             b"PUB a 9999\r\n",
             b"PUB a 3\r\nabcd", b"CONNECT " + b"x" * 70, b"sub a b c d\r\n", b"-ERR 'x'\r\n"]
        ),
    ),
    max_size=8,
).map(b"".join)  # fmt: skip


@given(BROKEN, st.lists(st.integers(0, 1000), max_size=20), st.booleans(), st.booleans())
def test_rubbish_is_refused_the_same_wherever_it_is_cut(
    stream: bytes, places: list[int], only_connect: bool, headers: bool
) -> None:
    """Nothing but `ProtocolError` is raised, after the same events, with the same answer."""

    def fresh() -> Parser:
        return parser(only_connect=only_connect, headers=headers)

    whole = parsed(stream, using=fresh())

    assert parsed(*cut(stream, places), using=fresh()) == whole
    assert parsed(*(bytes([byte]) for byte in stream), using=fresh()) == whole


@pytest.mark.parametrize(
    ("stream", "answer"),
    [
        (b"X", UNKNOWN),
        (b"GET / HTTP/1.1\r\n", UNKNOWN),
        (b"PUX", UNKNOWN),
        (b"\r\n", UNKNOWN),
        (b" PING\r\n", UNKNOWN),
        (b"PUB\r\n", UNKNOWN),
        (b"MSG a 1 1\r\nx\r\n", UNKNOWN),
        (b"PUB a 2\r\nhi!", UNKNOWN),
        (b"PUB a 2\r\nhi\r!", UNKNOWN),
        (b"PUB a 1\r\nhi\r\n", UNKNOWN),
        (b"PUB a -1\r\n", ""),
        (b"PUB a +1\r\n", ""),
        (b"PUB a 1_0\r\n", ""),
        (b"PUB a 99999999999\r\n", ""),
        (b"PUB a\r\n", ""),
        (b"PUB a b c 1\r\n", ""),
        (b"PUB \r\n", ""),
        (b"PUB a 1001\r\n", PAYLOAD_TOO_LARGE),
        (b"PUB a 999999999\r\n", PAYLOAD_TOO_LARGE),
        (b"HPUB a 1 1001\r\n", PAYLOAD_TOO_LARGE),
        (b"HPUB a 3 2\r\n", ""),
        (b"HPUB a 2\r\n", ""),
        (b"HPUB a x 2\r\n", ""),
        (b"SUB a\r\n", ""),
        (b"SUB a b c d\r\n", ""),
        (b"UNSUB \r\n", ""),
        (b"UNSUB 1 2 3\r\n", ""),
        (b"-ERR 'no'\r\n", ""),
        (b"SUB " + b"a" * 65, LINE_TOO_LONG),
        (b"SUB " + b"a" * 63 + b" 1\r\n", LINE_TOO_LONG),
        (b"PING" + b" " * 100, LINE_TOO_LONG),
    ],
)  # fmt: skip
def test_mistakes_are_answered_as_by_nats_server(stream: bytes, answer: str) -> None:
    """At once, without waiting for the end of the line; "" closes without a word."""
    assert parsed(b"PING\r\n" + stream) == ([Ping()], answer)


@pytest.mark.parametrize(
    "stream", [b"PIN", b"PUB a", b"PUB a 5\r\nhell", b"CONNECT {", b"SUB " + b"a" * 64]
)
def test_half_a_frame_is_waited_for(stream: bytes) -> None:
    """Without a mistake, and no more is kept than what has come."""
    used = parser()
    assert parsed(stream, using=used) == ([], None)
    assert used.held <= len(stream)


def test_nothing_but_connect_before_the_login() -> None:
    """Told at the first byte; what follows CONNECT in the same segment is taken."""
    assert parsed(b"P", using=parser(only_connect=True)) == ([], UNAUTHORIZED)

    used = parser(only_connect=True)
    events = []
    for event in used.feed(b"CONNECT {}\r\nPING\r\n"):
        events.append(event)
        used.only_connect = False
    assert events == [Connect(b"{}"), Ping()]


def test_headers_need_to_be_asked_for() -> None:
    """HPUB ends the connection of a client that has not said that it knows headers."""
    assert parsed(b"HPUB a 0 0\r\n\r\n", using=parser(headers=False)) == ([], "")


def test_a_large_payload_in_small_pieces_arrives_whole() -> None:
    """Nothing is said of it before its last byte."""
    used = Parser(max_payload=1 << 20, max_control_line=MAX_LINE)
    size = 1 << 19
    assert list(used.feed(b"PUB a %d\r\n" % size)) == []
    piece = bytes(16)
    for _ in range(size // len(piece)):
        assert not list(used.feed(piece))
    assert list(used.feed(b"\r\n")) == [Pub(b"a", b"", b"", bytes(size))]
