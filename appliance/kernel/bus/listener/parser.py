"""Bytes of a NATS client to events, however the network has cut them. Pure.

Lenient and strict where nats-server is: verbs in any case, tabs, bare line feeds and
rubbish after PING pass; everything else ends the connection, mostly without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_SIZE_DIGITS = 9  # a size with more digits is no size

_VERBS = (
    *(
        verb + space
        for verb in (b"PUB", b"HPUB", b"SUB", b"UNSUB", b"-ERR")
        for space in (b" ", b"\t")
    ),
    *(b"CONNECT", b"INFO", b"PING", b"PONG", b"+OK"),
)
_LONGEST = max(map(len, _VERBS))
_LINE = re.compile(
    rb"(PUB|HPUB|SUB|UNSUB|-ERR)[ \t]|(CONNECT|INFO|PING|PONG|\+OK)[ \t]?", re.IGNORECASE
)

UNKNOWN = "Unknown Protocol Operation"
UNAUTHORIZED = "Authorization Violation"
LINE_TOO_LONG = "maximum control line exceeded"  # nats-server writes this one in lower case
PAYLOAD_TOO_LARGE = "Maximum Payload Violation"


class ProtocolError(Exception):
    """The connection cannot go on.

    ``str(error)`` says why, for us; *answer* is what the client is told, "" for nothing.
    """

    def __init__(self, why: str, answer: str = "") -> None:
        super().__init__(why)
        self.answer = answer


class Connect(NamedTuple):
    """``CONNECT {…}``; the JSON as it came."""

    options: bytes


class Pub(NamedTuple):
    """``PUB`` or ``HPUB``, complete with its payload."""

    subject: bytes
    reply: bytes  # b"" for none
    headers: bytes  # the block with its first line and its empty one; b"" for none
    data: bytes


class Sub(NamedTuple):
    """``SUB subject [queue] sid``."""

    subject: bytes
    queue: bytes  # b"" for none
    sid: bytes


class Unsub(NamedTuple):
    """``UNSUB sid [max]``; *limit* is -1 when there is none, or none that can be read."""

    sid: bytes
    limit: int


class Ping(NamedTuple):
    """``PING``."""


class Pong(NamedTuple):
    """``PONG``."""


Event = Connect | Pub | Sub | Unsub | Ping | Pong


class _Head(NamedTuple):
    """A PUB whose payload is still to come."""

    subject: bytes
    reply: bytes
    header_size: int  # bytes of headers in the payload; 0 for none
    size: int  # bytes of headers and data


class Parser:
    """One connection's input. It keeps at most one incomplete frame."""

    def __init__(self, *, max_payload: int, max_control_line: int) -> None:
        self.max_payload = max_payload
        self.only_connect = False  # nothing else is taken before the client has logged in
        self.headers = False  # whether HPUB is taken
        self._max_line = max_control_line
        self._rest = bytearray()
        self._needed = 0  # bytes that the rest must have before it says anything new
        self._head: _Head | None = None

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take *data*, and yield the events that it completes.

        The attributes may be changed between two events, and count from the next one on.

        Raises:
          ProtocolError: after the events that came before the mistake.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        position, end = 0, len(data)
        while True:
            if self._head is not None:
                subject, reply, header_size, size = self._head
                stop = position + size
                if data[stop : stop + 2] != b"\r\n"[: max(0, end - stop)]:
                    raise ProtocolError("The payload does not end where its size says.", UNKNOWN)
                if stop + 2 > end:
                    self._needed = size + 1 if end <= stop else size + 2
                    break
                self._head = None
                body = position + header_size
                yield Pub(subject, reply, data[position:body], data[body:stop])
                position = stop + 2
            elif position == end:
                return
            else:
                if self.only_connect and data[position] not in b"Cc":
                    raise ProtocolError("Something came before CONNECT.", UNAUTHORIZED)
                newline = data.find(b"\n", position)
                if newline < 0:
                    self._check_beginning(data[position:])
                    self._needed = 0
                    break
                line = data[position:newline]
                position = newline + 1
                if line.startswith(b"PUB "):
                    # Most frames are this one, and whole: no need for the long way.
                    words = line.split()
                    size = _number(words[-1])
                    stop = position + size
                    if (
                        3 <= len(words) <= 4
                        and 0 <= size <= self.max_payload
                        and len(line) <= self._max_line
                        and data[stop : stop + 2] == b"\r\n"
                    ):
                        reply = words[2] if len(words) == 4 else b""
                        yield Pub(words[1], reply, b"", data[position:stop])
                        position = stop + 2
                        continue
                event = self._line(line)
                if event is not None:
                    yield event
        self._rest += data[position:]

    def _line(self, line: bytes) -> Event | None:
        """Read a whole control line; the head of a PUB is kept, and None returned."""
        found = _LINE.match(line)
        if found is None:
            raise ProtocolError("Not a verb of the protocol.", UNKNOWN)
        if len(line) > self._max_line:
            self._check_length(line, found)
        verb = found[0].strip().upper()
        if verb == b"PUB":
            self._publish(line.split())
        elif verb == b"PING":
            return Ping()
        elif verb == b"PONG":
            return Pong()
        elif verb == b"HPUB":
            self._publish_with_headers(line.split())
        elif verb == b"SUB":
            return _subscribe(line.split())
        elif verb == b"UNSUB":
            return _unsubscribe(line.split())
        elif verb == b"CONNECT":
            return Connect(line[found.end() :].strip())
        elif verb == b"-ERR":
            raise ProtocolError("The client reports an error.")
        return None  # INFO and +OK say nothing to a server

    def _publish(self, words: list[bytes]) -> None:
        if len(words) == 3:
            _, subject, size = words
            reply = b""
        elif len(words) == 4:
            _, subject, reply, size = words
        else:
            raise ProtocolError("PUB takes a subject, perhaps a reply subject, and a size.")
        self._head = _Head(subject, reply, 0, self._size(size))

    def _publish_with_headers(self, words: list[bytes]) -> None:
        if not self.headers:
            raise ProtocolError("HPUB from a client that has not asked for headers.")
        if len(words) == 4:
            _, subject, header_size, size = words
            reply = b""
        elif len(words) == 5:
            _, subject, reply, header_size, size = words
        else:
            raise ProtocolError("HPUB takes a subject, perhaps a reply subject, and two sizes.")
        # Both are read before the limit is looked at: a mistake is told ahead of an excess.
        headers, total = _number(header_size), _number(size)
        if headers < 0 or total < 0 or headers > total:
            raise ProtocolError("HPUB has sizes that cannot be.")
        self._head = _Head(subject, reply, headers, self._size(size))

    def _size(self, word: bytes) -> int:
        size = _number(word)
        if size < 0:
            raise ProtocolError("The size of a payload is no number of up to nine digits.")
        if size > self.max_payload:
            raise ProtocolError(f"A payload of {size} bytes.", PAYLOAD_TOO_LARGE)
        return size

    def _check_length(self, line: bytes, found: re.Match[bytes]) -> None:
        """Refuse *line* when what follows its verb is too long."""
        if len(line.removesuffix(b"\r")) - found.end() > self._max_line:
            raise ProtocolError("A control line is too long.", LINE_TOO_LONG)

    def _check_beginning(self, rest: bytes) -> None:
        """Refuse the beginning of a line that can become nothing, or is too long already."""
        beginning = rest[:_LONGEST].upper()
        if not any(verb.startswith(beginning) or beginning.startswith(verb) for verb in _VERBS):
            raise ProtocolError("Not the beginning of a verb.", UNKNOWN)
        if len(rest) > self._max_line and (found := _LINE.match(rest)):
            self._check_length(rest, found)


def _number(word: bytes) -> int:
    """*word* as nats-server reads sizes; -1 when it is none."""
    return int(word) if len(word) <= MAX_SIZE_DIGITS and word.isdigit() else -1


def _subscribe(words: list[bytes]) -> Sub:
    if len(words) == 3:
        return Sub(words[1], b"", words[2])
    if len(words) == 4:
        return Sub(*words[1:])
    raise ProtocolError("SUB takes a subject, perhaps a queue group, and an identifier.")


def _unsubscribe(words: list[bytes]) -> Unsub:
    if len(words) == 2:
        return Unsub(words[1], -1)
    if len(words) == 3:
        return Unsub(words[1], _number(words[2]))
    raise ProtocolError("UNSUB takes an identifier, and perhaps a number of messages.")
