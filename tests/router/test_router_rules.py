"""The router's pure parts: table, heads, chunks and access lines."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.kernel.http import gate
from appliance.router.access import Record, access_line
from appliance.router.answer import Answer, parse_answer
from appliance.router.chunks import BadChunk, ChunkReader, chunk
from appliance.router.endpoint import Endpoint
from appliance.router.head import parse_request
from appliance.router.sticky import session_cookie, wanted_instance
from appliance.router.table import RouteTable, split_uri


def an_endpoint(port: int, **fields: Any) -> Endpoint:
    """An endpoint that differs by its port."""
    return Endpoint("127.0.0.1", port, **fields)


def a_table(*registrations: tuple[int, str]) -> RouteTable:
    """A table with these ports and URIs, registered at time 0."""
    table = RouteTable(120)
    for port, uri in registrations:
        table.register(an_endpoint(port), [uri], 0)
    return table


@pytest.mark.parametrize(
    ("host", "path", "uri"),
    [
        ("a.example", "/", "a.example"),
        ("b.example", "/", "*.example"),
        ("deep.b.example", "/", "*.example"),
        ("x.deep.example", "/", "*.deep.example"),
        ("example", "/", None),
        ("a.example", "/v1/x", "a.example/v1"),
        ("a.example", "/v1/long", "a.example/v1/long"),
        ("a.example", "/v10", "a.example"),
        ("b.example", "/v1", "*.example"),
    ],
)
def test_finds_the_most_exact_route(host: str, path: str, uri: str | None) -> None:
    """Exact host before wildcard, near wildcard before far, long path before short."""
    uris = ["a.example", "*.example", "*.deep.example", "a.example/v1", "a.example/v1/long/"]
    route = a_table(*((1, each) for each in uris)).find(host, path)
    assert (route and route.uri) == uri


@pytest.mark.parametrize(
    ("uri", "parts"),
    [("A.b", ("a.b", "")), ("a.b/", ("a.b", "")), ("a.b/X/", ("a.b", "/X")), ("", ("", ""))],
)
def test_uris_are_split_into_host_and_path(uri: str, parts: tuple[str, str]) -> None:
    """Hosts are compared in lower case, paths as they are."""
    assert split_uri(uri) == parts


def test_a_repeated_registration_keeps_the_endpoint_fresh() -> None:
    """120 s count from the last one; a shorter threshold of its own counts instead."""
    table = a_table((1, "a"), (2, "a"))
    table.register(an_endpoint(1), ["a"], 100)
    table.register(an_endpoint(3), ["a"], 100, stale_after=10)
    assert [(uri, e.port) for uri, e in table.prune(121)] == [("a", 2), ("a", 3)]
    assert [(uri, e.port) for uri, e in table.prune(221)] == [("a", 1)]
    assert table.find("a", "/") is None
    assert not table.endpoints


def test_a_late_unregister_does_not_hit_the_ports_new_owner() -> None:
    """It names the instance that is gone, not the one that is there."""
    table = RouteTable(120)
    table.register(an_endpoint(1, instance="old"), ["a"], 0)
    table.register(an_endpoint(1, instance="new"), ["b"], 1)
    assert table.find("a", "/") is None
    assert table.unregister(("127.0.0.1", 1), ["b"], "old") == []
    assert table.find("b", "/") is not None
    assert table.unregister(("127.0.0.1", 1), ["b"], "new") == ["b"]


def test_failed_endpoints_rest_and_come_back() -> None:
    """When all have failed, the one that has rested longest is tried."""
    route = a_table((1, "a"), (2, "a"), (3, "a")).find("a", "/")
    assert route is not None
    one, two, three = (member.endpoint for member in route.members.values())
    one.failed_until = 10
    assert {route.next(5) for _ in range(4)} == {two, three}
    two.failed_until, three.failed_until = 8, 12
    assert route.next(5) is two
    assert route.next(5, [two]) is one
    assert {route.next(11) for _ in range(4)} == {one, two}
    assert route.next(5, [one, two, three]) is None


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from("abc"), st.booleans())))
def test_routes_and_endpoints_never_disagree(steps: list[tuple[int, str, bool]]) -> None:
    """Whatever is registered and withdrawn: no empty route, no endpoint without route."""
    table, expected = RouteTable(120), set[tuple[int, str]]()
    for port, uri, register in steps:
        if register:
            table.register(an_endpoint(port), [uri], 0)
            expected.add((port, uri))
        else:
            table.unregister(("127.0.0.1", port), [uri])
            expected.discard((port, uri))
    assert {(p, r.uri) for r in table.routes() for _, p in r.members} == expected
    assert {endpoint.port for endpoint in table.endpoints} == {port for port, _ in expected}
    assert all((route := table.find(uri, "/")) and route.next(0) for _, uri in expected)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """*data* in pieces."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]


@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(0, 10_000)))
def test_chunked_bodies_are_read_alike_however_they_are_cut(
    bodies: list[bytes], places: list[int]
) -> None:
    """All of the data, and what follows the body stays outside of it."""
    wire = b"".join(b"%x; a=b\r\n%b\r\n" % (len(body), body) for body in bodies)
    wire += b"0\r\nTrailer: x\r\n\r\nGET /next"
    reader, found, rest = ChunkReader(), bytearray(), b""
    for piece in cut(wire, places):
        if reader.done:
            rest += piece
        else:
            found += b"".join(reader.feed(piece))
    assert reader.done
    assert bytes(found) == b"".join(bodies)
    assert reader.rest + rest == b"GET /next"


@given(st.binary(max_size=60))
@example(b"5\r\nhello\r\n0\r\n\r\n")
@example(b"5\r\nhello\n0\r\n\r\n")
@example(b"2\r\nhello\r\n0\r\n\r\n")
@example(b"0\r\nx\r\n\r\n")
@example(b"ffffffffffffffffffff\r\n")
def test_chunks_that_are_taken_mean_the_same_to_h11(wire: bytes) -> None:
    """Two readers that disagree about a body are how requests are smuggled."""
    reader = ChunkReader()
    try:
        ours = b"".join(reader.feed(wire))
    except BadChunk:
        return
    if not reader.done:
        return
    theirs, other = bytearray(), h11.Connection(h11.SERVER)
    other.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    while not isinstance(event := other.next_event(), h11.EndOfMessage):
        assert not isinstance(event, type(h11.NEED_DATA))
        if isinstance(event, h11.Data):
            theirs += event.data
    assert ours == bytes(theirs)
    assert reader.rest == other.trailing_data[0]


def test_an_empty_piece_is_no_last_chunk() -> None:
    """A chunk of no bytes would end the body."""
    assert chunk([]) == chunk([memoryview(b"")]) == b""
    assert chunk([memoryview(b"ab"), memoryview(b"c")]) == b"3\r\nabc\r\n"


FIELD = st.tuples(
    st.sampled_from(["Host", "Content-Length", "Transfer-Encoding", "Connection", "X-A", "TE"]),
    st.sampled_from(["a.b", "a.b:80", "5", "0", "chunked", "close", "keep-alive", "x, y", ""]),
    st.sampled_from(["", " ", "\t "]),
)


@given(st.lists(FIELD, max_size=6), st.sampled_from(["0", "1"]))
def test_heads_that_pass_mean_the_same_to_h11(
    fields: list[tuple[str, str, str]], minor: str
) -> None:
    """Length, coding and host of every request head that the gate lets through."""
    lines = "".join(f"{name}:{space}{value}\r\n" for name, value, space in fields)
    raw = f"POST /x HTTP/1.{minor}\r\n{lines}\r\n".encode()
    if gate.check_head(raw) is not None:
        return
    ours, other = parse_request(raw), h11.Connection(h11.SERVER)
    other.receive_data(raw)
    theirs = other.next_event()
    assert isinstance(theirs, h11.Request)
    headers = dict(theirs.headers)
    assert ours.host == headers.get(b"host", b"")
    assert ours.length == int(headers.get(b"content-length", b"0"))
    assert ours.chunked == (b"transfer-encoding" in headers)
    assert not any(line.lower().startswith((b"te:", b"connection:")) for line in ours.lines)


@pytest.mark.parametrize(
    ("head", "method", "length", "chunked", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", 5, False, True),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", b"GET", 5, False, True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", b"GET", None, True, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"GET", None, False, True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"HEAD", 0, False, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", b"GET", 5, False, False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", b"HEAD", 0, False, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"GET", 0, False, True),
    ],
)
def test_the_body_of_an_answer_ends_where_its_head_says(
    head: bytes, method: bytes, length: int | None, chunked: bool, keep: bool
) -> None:
    """RFC 9112, 6.3: none for HEAD, 204, 304; chunked; a length; until the end."""
    answer = parse_answer(head, method == b"HEAD")
    assert (answer.length, answer.chunked, answer.keep_alive) == (length, chunked, keep)


def test_sticky_cookies_need_both_parts() -> None:
    """An instance is only kept to while there is a session."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: %b\r\n\r\n"
    both = parse_request(head % b"x=1; JSESSIONID=s; __VCAP_ID__=i-1")
    alone = parse_request(head % b"__VCAP_ID__=i-1")
    assert (wanted_instance(both), wanted_instance(alone)) == ("i-1", "")


def test_a_session_cookie_keeps_the_attributes_that_matter() -> None:
    """Lifetime and safety of the session's own cookie; nothing without a session."""
    lines = [b"Set-Cookie: JSESSIONID=s; Path=/x; Max-Age=5; SameSite=Lax; Secure", b"X: 1"]
    answer = Answer(200, b"OK", lines, 0, False, 0, True, b"")
    assert session_cookie(answer, "i") == (
        b"Set-Cookie: __VCAP_ID__=i; Path=/; HttpOnly; Max-Age=5; SameSite=Lax; Secure"
    )
    assert session_cookie(Answer(200, b"OK", [b"X: 1"], 0, False, 0, True, b""), "i") is None


def test_an_access_line_cannot_be_forged() -> None:
    """Quotes and control characters of clients are escaped; what is absent is a dash."""
    request = parse_request(b'GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: "\x85 x"\r\n\r\n')
    line = access_line(
        Record(
            request=request,
            endpoint=an_endpoint(1),
            client="1.2.3.4:5",
            request_id="",
            at=1,
            status=502,
            received=0,
            sent=0,
            seconds=0.5,
            app_seconds=0.25,
            error="endpoint_failure (refused)",
        )
    )
    assert line == (
        'a - [1970-01-01T00:00:00.000000001Z] "GET / HTTP/1.1" 502 0 0 "-" "\\"\\x85 x\\"" '
        '"1.2.3.4:5" "127.0.0.1:1" x_forwarded_for:"1.2.3.4" x_forwarded_proto:"http" '
        'vcap_request_id:"-" response_time:0.500000 gorouter_time:0.250000 app_id:"-" '
        'app_index:"-" instance_id:"-" x_cf_routererror:"endpoint_failure (refused)"'
    )
