"""An app's answer: its head, read strictly and written anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from appliance.router.head import HOP, REMEMBERED, REMEMBERED_SIZE, Request, without

MAX_ANSWER_HEAD = 64 * 1024  # bytes
_MAX_DIGITS = 15  # of Content-Length: below 1 PB
_DROPPED = HOP | {b"x-vcap-request-id", b"x-cf-routererror"}
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")


class BadAnswer(Exception):
    """An answer of an app that breaks a rule; the text is a sentence."""


@dataclass(slots=True)
class Answer:
    """An app's head, after it has been checked. Shared by equal heads: never changed."""

    status: int
    reason: bytes
    lines: list[bytes]  # fields that pass on
    length: int | None  # of the body; None when chunked or until the end
    chunked: bool
    declared: int | None  # Content-Length of an answer that may have no body (HEAD, 304)
    keep_alive: bool
    upgrade: bytes
    fixed: bytes = b""  # the new head, without what differs from request to request


def read_answer(raw: bytes, method: bytes) -> Answer:
    """The answer to a *method* request whose head is *raw*, up to and with the blank line.

    Raises:
      BadAnswer: it has no single reading; the sentence says why.
    """
    if len(raw) <= REMEMBERED_SIZE:
        return _recent_answer(raw, method == b"HEAD")
    return parse_answer(raw, method == b"HEAD")


def parse_answer(raw: bytes, bodiless: bool) -> Answer:
    """As `read_answer`; *bodiless* when the request was HEAD.

    Raises:
      BadAnswer: it has no single reading; the sentence says why.
    """
    start = _STATUS.match(raw)
    if start is None:
        raise BadAnswer("The status line is not HTTP/1.1 CODE REASON.")
    # No field value can hold a CR, LF or NUL, and no line can be folded.
    if _FIELDS.fullmatch(raw, start.end()) is None:
        raise BadAnswer("A header line is not NAME: VALUE.")
    minor, status, reason = start[1], int(start[2]), start[3] or b""
    answer = Answer(status, reason, [], None, False, None, minor == b"1", b"")
    options: set[bytes] = set()
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for entry in raw[start.end() : -4].split(b"\r\n"):
        name, _, value = entry.partition(b":")
        low = name.lower()
        if low not in _DROPPED:
            if name:
                answer.lines.append(entry)
        elif low == b"content-length":
            lengths.append(value.strip(b" \t"))
        elif low == b"transfer-encoding":
            codings.append(value.strip(b" \t").lower())
        elif low == b"connection":
            options.update(each.strip(b" \t") for each in value.lower().split(b","))
        elif low == b"upgrade":
            answer.upgrade = value.strip(b" \t")
    if options:
        answer.keep_alive = b"close" not in options and (
            answer.keep_alive or b"keep-alive" in options
        )
        answer.lines = without(answer.lines, options)
    _frame(answer, lengths, codings, old=minor == b"0")
    if bodiless or status < 200 or status in (204, 304):
        answer.length, answer.chunked = 0, False
        if status < 200 or status == 204:
            answer.declared = None
    lines = [b"HTTP/1.1 %d %b" % (status, reason), *answer.lines]
    if answer.declared is not None:
        lines.append(b"Content-Length: %d" % answer.declared)
    answer.fixed = b"\r\n".join(lines)
    return answer


_recent_answer = lru_cache(REMEMBERED)(parse_answer)


def _frame(answer: Answer, lengths: list[bytes], codings: list[bytes], *, old: bool) -> None:
    """Where the body ends (RFC 9112, 6.3): one answer, or none at all."""
    if len(lengths) > 1:
        raise BadAnswer("There is more than one Content-Length.")
    if lengths and codings:
        raise BadAnswer("Content-Length and Transfer-Encoding exclude each other.")
    if codings:
        if codings != [b"chunked"] or old:
            raise BadAnswer("The only Transfer-Encoding known here is chunked.")
        answer.chunked = True
    elif lengths:
        if not lengths[0].isdigit() or len(lengths[0]) > _MAX_DIGITS:
            raise BadAnswer("Content-Length is not a plain number.")
        answer.length = answer.declared = int(lengths[0])


def respond(
    request: Request, answer: Answer, request_id: bytes, *, close: bool, extra: bytes | None = None
) -> tuple[bytes, bool]:
    """The head for the client, and whether the connection has to close after the body.

    A body without length becomes chunked for HTTP/1.1, and ends with the connection
    for HTTP/1.0. *extra* is one more line.
    """
    lines = [answer.fixed]
    if answer.length is None:
        if request.minor:
            lines.append(b"Transfer-Encoding: chunked")
        else:
            close = True
    if answer.status == 101:
        lines += [b"Connection: Upgrade", b"Upgrade: " + (answer.upgrade or request.upgrade)]
    elif answer.status >= 200:
        lines.append(b"X-Vcap-Request-Id: " + request_id)
        if close:
            lines.append(b"Connection: close")
        elif not request.minor:
            lines.append(b"Connection: keep-alive")
    if extra is not None:
        lines.append(extra)
    lines.append(b"\r\n")
    return b"\r\n".join(lines), close
