"""The request gate: each way to be read in two ways is refused, honest heads pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel.http.gate import MAX_HEAD, MAX_HEADERS, Refusal, check_head, find_head

GET = b"GET / HTTP/1.1\r\nHost: good\r\n"
POST = b"POST / HTTP/1.1\r\nHost: good\r\n"

REFUSED: dict[str, tuple[bytes, int]] = {
    "length with coding": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400),
    "coding with length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
    "coding in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n", 400),
    "the same length twice": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n", 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n", 400),
    "length with a sign": (POST + b"Content-Length: +4\r\n", 400),
    "negative length": (POST + b"Content-Length: -1\r\n", 400),
    "length with underscore": (POST + b"Content-Length: 1_0\r\n", 400),
    "hexadecimal length": (POST + b"Content-Length: 0x4\r\n", 400),
    "length of 21 digits": (POST + b"Content-Length: 000000000000000000003\r\n", 400),
    "length in other digits": (POST + b"Content-Length: \xd9\xa3\r\n", 400),
    "empty length": (POST + b"Content-Length:\r\n", 400),
    "coding twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    "unknown coding": (POST + b"Transfer-Encoding: gzip\r\n", 501),
    "coding after another": (POST + b"Transfer-Encoding: gzip, chunked\r\n", 501),
    "coding with vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n", 400),
    "space before colon": (POST + b"Content-Length : 3\r\n", 400),
    "folded line": (GET + b"X-A: 1\r\n 2\r\n", 400),
    "folded by tab": (GET + b"X-A: 1\r\n\t2\r\n", 400),
    "folded first line": (b"GET / HTTP/1.1\r\n Host: good\r\n", 400),
    "bare LF": (GET + b"X-A: 1\nX-B: 2\r\n", 400),
    "bare CR": (GET + b"X-A: 1\rX-B: 2\r\n", 400),
    "NUL": (GET + b"X-A: 1\x002\r\n", 400),
    "line without colon": (GET + b"nonsense\r\n", 400),
    "empty header name": (GET + b": value\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n", 400),
    "two hosts": (GET + b"Host: evil\r\n", 400),
    "empty host": (b"GET / HTTP/1.1\r\nHost:\r\n", 400),
    "host with a space": (b"GET / HTTP/1.1\r\nHost: a b\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: x/../y\r\n", 400),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: good@evil\r\n", 400),
    "host with a comma": (b"GET / HTTP/1.1\r\nHost: good,evil\r\n", 400),
    "host with a trailing dot": (b"GET / HTTP/1.1\r\nHost: good.\r\n", 400),
    "host with a wild port": (b"GET / HTTP/1.1\r\nHost: good:65536\r\n", 400),
    "target of another host": (b"GET http://evil/ HTTP/1.1\r\nHost: good\r\n", 400),
    "target with a user": (b"GET http://good@evil/ HTTP/1.1\r\nHost: good\r\n", 400),
    "target without scheme": (b"GET evil:80 HTTP/1.1\r\nHost: good\r\n", 400),
    "tunnel": (b"CONNECT evil:80 HTTP/1.1\r\nHost: evil:80\r\n", 400),
    "star for GET": (b"GET * HTTP/1.1\r\nHost: good\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: good\r\n", 505),
    "prior-knowledge HTTP/2": (b"PRI * HTTP/2.0\r\n", 505),
    "HTTP/1.9": (b"GET / HTTP/1.9\r\nHost: good\r\n", 505),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: good\r\n", 400),
    "method with a control": (b"G\x01T / HTTP/1.1\r\nHost: good\r\n", 400),
    "20 KB in one packet": (GET + b"X-A: " + b"a" * 20_000 + b"\r\n", 431),
    "2,000 headers": (GET + b"X-A:\r\n" * 2_000, 431),
    "one header too many": (GET + b"A:\r\n" * MAX_HEADERS, 431),
    "underscore twin": (GET + b"X-Forwarded-For: 1\r\nX_Forwarded_For: 2\r\n", 400),
    "underscore for a trusted name": (GET + b"X_Forwarded_For: 2\r\n", 400),
    "escaped NUL": (b"GET /a%00b HTTP/1.1\r\nHost: good\r\n", 400),
    "broken escape": (b"GET /a%2 HTTP/1.1\r\nHost: good\r\n", 400),
    "dots above the root": (b"GET /a/../../etc HTTP/1.1\r\nHost: good\r\n", 400),
    "escaped dots": (b"GET /a/%2e%2E/etc HTTP/1.1\r\nHost: good\r\n", 400),
    "dots between escaped slashes": (b"GET /a%2f..%2Fetc HTTP/1.1\r\nHost: good\r\n", 400),
    "dots and backslashes": (b"GET /a\\..\\etc HTTP/1.1\r\nHost: good\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: good\r\n", 400),
    "raw bytes in the target": (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: good\r\n", 400),
    "unknown expectation": (POST + b"Expect: magic\r\n", 417),
}

PASSED: dict[str, bytes] = {
    "plain": GET,
    "old": b"GET / HTTP/1.0\r\n",
    "with length": POST + b"Content-Length: 0\r\n",
    "chunked": POST + b"transfer-encoding: Chunked\r\n",
    "waiting": POST + b"Content-Length: 3\r\nExpect: 100-Continue\r\n",
    "absolute target of the same host": b"GET http://Good:80/a?b HTTP/1.1\r\nHost: good:80\r\n",
    "IPv6": b"GET / HTTP/1.1\r\nHost: [::1]:7700\r\n",
    "options": b"OPTIONS * HTTP/1.1\r\nHost: good\r\n",
    "escaped slash": b"GET /@scope%2fname HTTP/1.1\r\nHost: good\r\n",
    "dots in a name": b"GET /a..b/.profile/...?x=../.. HTTP/1.1\r\nHost: good\r\n",
    "Latin-1 value": GET + b"X-Name: J\xf6rg\r\n",
    "repeated header": GET + b"Accept: a\r\nAccept: b\r\n",
    "harmless underscore": GET + b"my_header: 1\r\n",
    "empty value": GET + b"X-A:\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    """Each head of the table is refused, with the status of its rule and a sentence."""
    head, status = REFUSED[name]
    refusal = check_head(head + b"\r\n")
    assert refusal is not None
    assert refusal.status == status
    assert refusal.reason.endswith(".")


@pytest.mark.parametrize("name", PASSED)
def test_passes(name: str) -> None:
    """What clients honestly send is not touched."""
    assert check_head(PASSED[name] + b"\r\n") is None


def test_head_without_end_is_refused_as_soon_as_it_is_hopeless() -> None:
    """A bare LF, or too many bytes, need no blank line to be refused."""
    assert find_head(b"GET / HTTP/1.1\r\nHost: a") is None
    assert find_head(GET + b"\r\nbody") == len(GET) + 2
    early = find_head(b"GET / HTTP/1.1\nHost: a\n\n")
    assert isinstance(early, Refusal)
    assert early.status == 400
    tls = find_head(b"\x16\x03\x01\x02\x00\x01\n")
    assert isinstance(tls, Refusal)
    assert "TLS" in tls.reason
    late = find_head(GET + b"X: " + b"a" * MAX_HEAD)
    assert isinstance(late, Refusal)
    assert late.status == 431


_PIECES = st.sampled_from(
    [
        b"Host: good\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 03\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"X-A:\tb c\r\n",
        b"X-\xc3: d\r\n",
        b" folded\r\n",
        b"Connection: close\r\n",
        b"a\x7f: 1\r\n",
        b"Expect: 100-continue\r\n",
    ]
)


@given(
    st.sampled_from([b"GET", b"POST", b"P\x00T", b"get"]),
    st.sampled_from([b"/", b"*", b"/a?b=c", b"http://good/x", b"/%zz"]),
    st.sampled_from([b"1.1", b"1.0", b"2.0"]),
    st.lists(_PIECES, max_size=5),
)
def test_what_passes_is_read_alike_by_h11(
    method: bytes, target: bytes, version: bytes, lines: list[bytes]
) -> None:
    """h11 accepts every head that the gate lets through, and finds the same parts in it."""
    raw = method + b" " + target + b" HTTP/" + version + b"\r\n" + b"".join(lines) + b"\r\n"
    if check_head(raw) is not None:
        return
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(raw)
    request = parser.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target, request.http_version) == (method, target, version)
    assert len(request.headers) == len(lines)


@pytest.mark.parametrize("name", REFUSED)
async def test_server_refuses_before_the_application(
    name: str, serve: Callable[..., Awaitable[str]], connect: Callable[[str], Awaitable[Any]]
) -> None:
    """Over a socket the same heads are answered and the connection closed; the app sees none."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["raw_path"])
        else:
            await receive()
            await send({"type": "lifespan.startup.complete"})

    head, status = REFUSED[name]
    raw = await connect(await serve(app))
    await raw.send(head + b"\r\nGET /smuggled HTTP/1.1\r\nHost: good\r\n\r\n")
    answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"Content-Length: ") == 1
    assert seen == []
