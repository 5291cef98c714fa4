"""Our short cut beside nats-py's own parser: the same of it all, however the bytes are cut."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from appliance.kernel.bus.nats_parser import MAX_LINE, BatchParser

Heard = list[tuple[Any, ...]]


class Client:
    """Notes what a parser calls."""

    def __init__(self) -> None:
        self.heard: Heard = []

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.heard.append((sid, subject, reply, headers or b"", data))

    def deliver(self, sid: int, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        self.heard.append((sid, subject, reply, headers, data))

    async def _process_ping(self) -> None:
        self.heard.append(("ping",))

    async def _process_pong(self) -> None:
        self.heard.append(("pong",))

    async def _process_err(self, text: str) -> None:
        self.heard.append(("err", text))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.heard.append(("info", info))


def parsed(parser: Parser, client: Client, chunks: list[bytes]) -> tuple[Heard, bool]:
    """What *client* heard, and whether the parser gave up."""

    async def main() -> bool:
        try:
            for chunk in chunks:
                await parser.parse(chunk)
        except ProtocolError:
            return True
        return False

    return client.heard, asyncio.run(main())


def both(chunks: list[bytes]) -> tuple[tuple[Heard, bool], tuple[Heard, bool]]:
    ours, theirs = Client(), Client()
    return (
        parsed(BatchParser(ours, ours.deliver), ours, chunks),
        parsed(Parser(theirs), theirs, chunks),
    )


NAMES = st.text("abc.", min_size=1, max_size=6).map(str.encode)
DATA = st.binary(max_size=30) | st.sampled_from([b"\r\n", b"MSG a 1 1\r\nx\r\n", b"PING\r\n"])
BLOCKS = st.sampled_from(
    [b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\nA: 1\r\n\r\n"]
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One thing that a server may send."""
    rare = draw(st.sampled_from([b"", b"", b"", b"PING\r\n", b"PONG\r\n", b"+OK\r\n",
                                 b"-ERR 'Oh no'\r\n", b'INFO {"a":1}\r\n']))  # fmt: skip
    if rare:
        return rare
    subject, data, sid = draw(NAMES), draw(DATA), draw(st.integers(0, 99))
    reply = draw(st.sampled_from([b"", b"re.1 "]))
    if draw(st.booleans()):
        block = draw(BLOCKS)
        sizes = b"%d %d" % (len(block), len(block) + len(data))
        return b"HMSG %b %d %b%b\r\n%b%b\r\n" % (subject, sid, reply, sizes, block, data)
    return b"MSG %b %d %b%d\r\n%b\r\n" % (subject, sid, reply, len(data), data)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """*stream* in pieces."""
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(edges)]


@given(st.lists(frames(), max_size=12), st.lists(st.integers(0, 2000), max_size=20))
def test_both_hear_the_same(sent: list[bytes], places: list[int]) -> None:
    """Every message, ping and error, in their order, from whole streams and from cut ones."""
    ours, theirs = both(cut(b"".join(sent), places))
    assert ours == theirs
    assert len(ours[0]) == len([one for one in sent if one != b"+OK\r\n"])


@pytest.mark.parametrize(
    "stream",
    [
        b"MSG a 1\r\n", b"MSG a x 1\r\nx\r\n", b"MSG a 1 b c 1\r\nx\r\n", b"MSG a 1 -1\r\n\r\n",
        b"HMSG a 1 5 3\r\nxyz\r\n", b"HMSG a 1 12\r\n", b"MSG\r\n", b"WHAT\r\n",
        b"MSG a 1 1x\r\nx\r\n",
    ],
)  # fmt: skip
def test_mistakes_are_left_to_nats_py(stream: bytes) -> None:
    """Which gives up on them, or waits; so do we."""
    good = b"MSG a 1 2\r\nhi\r\n"
    ours, theirs = both([good + stream + good])
    assert ours == theirs


def test_half_of_everything_is_kept_until_the_rest_comes() -> None:
    """Byte by byte."""
    stream = (
        b"MSG a 1 2\r\nhi\r\nPING\r\nHMSG b 2 re 12 14\r\nNATS/1.0\r\n\r\nho\r\nMSG c 3 0\r\n\r\n"
    )
    ours, theirs = both([bytes([byte]) for byte in stream])
    assert ours == theirs
    assert len(ours[0]) == 4


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    """Beyond the limit nats-py has its say."""
    client = Client()
    parser = BatchParser(client, client.deliver)
    parsed(parser, client, [b"MSG " + b"a" * (MAX_LINE + 10)])
    assert client.heard == []
    ours, theirs = both([b"MSG " + b"a" * MAX_LINE + b" 1 1\r\nx\r\n"])
    assert ours == theirs
