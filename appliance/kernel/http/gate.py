"""The request gate: one strict check of a request head, before any parser sees it.

Two readers of one request that disagree about where it ends, or for whom it is, are
how requests are smuggled. So whatever RFC 9112 lets a server refuse is refused here,
and what passes has one reading. Pure: bytes in, a reason or nothing out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD = 16 * 1024  # bytes, request line and headers together
MAX_HEADERS = 100
MAX_BODY_DIGITS = 15  # of Content-Length: below 1 PB, so that no reader overflows

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_LINE = re.compile(rb"([^ ]+) ([^ ]+) HTTP/([0-9])\.([0-9])\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_TARGET = re.compile(rb"[\x21-\x7e]+\Z")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00")
_HOST = re.compile(
    rb"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z"
)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n)")
#: Headers by which a proxy tells the application who asks: an underscore twin would pass for one.
_TRUSTED = (b"x-forwarded-", b"x-cf-", b"x-vcap-", b"x-appliance-", b"x-real-", b"forwarded")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served, and with which status."""

    status: int
    reason: str  # a sentence


def find_head(buffer: bytes | bytearray) -> int | Refusal | None:
    """Where the head at the start of *buffer* ends; None when more bytes are needed.

    A head that can no longer become acceptable is refused before it is complete.
    """
    end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD + 4)
    if end >= 0:
        return end + 4
    if buffer[:2] == b"\x16\x03":  # a TLS ClientHello; container tools try that first
        return Refusal(400, "This port speaks plain HTTP, not TLS.")
    if len(buffer) > MAX_HEAD:
        return Refusal(431, f"The request head is above {MAX_HEAD} bytes.")
    if _BARE_LF.search(buffer):
        return Refusal(400, "A line of the head ends in a bare LF.")
    return None


def check_head(raw: bytes) -> Refusal | None:
    """Why the head *raw* (up to and including the blank line) is refused, or None."""
    if len(raw) > MAX_HEAD:
        return Refusal(431, f"The request head is above {MAX_HEAD} bytes.")
    if _BARE_LF.search(raw):
        return Refusal(400, "A line of the head ends in a bare LF.")
    if _BARE_CR.search(raw):
        return Refusal(400, "The head has a bare CR.")
    if b"\0" in raw:
        return Refusal(400, "The head has a NUL byte.")
    if not raw.endswith(b"\r\n\r\n"):
        return Refusal(400, "The head has no blank line at its end.")
    line, *lines = raw[:-4].split(b"\r\n")
    if len(lines) > MAX_HEADERS:
        return Refusal(431, f"The head has more than {MAX_HEADERS} header lines.")
    parts = _LINE.match(line)
    if parts is None:
        return Refusal(400, "The request line is not METHOD TARGET HTTP/1.1.")
    method, target, major, minor = parts.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        return Refusal(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if not _TOKEN.match(method):
        return Refusal(400, "The method is not a token.")
    headers: dict[bytes, list[bytes]] = {}
    for header in lines:
        refusal = _add(header, headers)
        if refusal is not None:
            return refusal
    return (
        _check_framing(headers, old=minor == b"0")
        or _check_host(headers, old=minor == b"0")
        or _check_target(method, target, headers)
        or _check_twins(headers)
    )


def _add(line: bytes, headers: dict[bytes, list[bytes]]) -> Refusal | None:
    if line[:1] in (b" ", b"\t"):
        return Refusal(400, "A header line is folded.")
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.match(name):
        return Refusal(400, "A header line is not NAME: VALUE.")
    if not _VALUE.match(value):
        return Refusal(400, "A header value has a control character.")
    headers.setdefault(name.lower(), []).append(value.strip(b" \t"))
    return None


def _check_framing(headers: dict[bytes, list[bytes]], *, old: bool) -> Refusal | None:
    """Exactly one reading of where the body ends (RFC 9112, 6.1 to 6.3)."""
    lengths = headers.get(b"content-length", [])
    codings = headers.get(b"transfer-encoding", [])
    if lengths and codings:
        return Refusal(400, "Content-Length and Transfer-Encoding exclude each other.")
    if len(lengths) > 1:
        return Refusal(400, "There is more than one Content-Length.")
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) <= MAX_BODY_DIGITS):
        return Refusal(400, "Content-Length is not a plain number.")
    if codings and old:
        return Refusal(400, "HTTP/1.0 has no Transfer-Encoding.")
    if len(codings) > 1:
        return Refusal(400, "There is more than one Transfer-Encoding.")
    if codings and codings[0].lower() != b"chunked":
        return Refusal(501, "The only Transfer-Encoding known here is chunked.")
    expectations = headers.get(b"expect", [])
    if expectations and [value.lower() for value in expectations] != [b"100-continue"]:
        return Refusal(417, "The only expectation known here is 100-continue.")
    return None


def _check_host(headers: dict[bytes, list[bytes]], *, old: bool) -> Refusal | None:
    hosts = headers.get(b"host", [])
    if len(hosts) > 1:
        return Refusal(400, "There is more than one Host.")
    if not hosts:
        return None if old else Refusal(400, "There is no Host.")
    if not _HOST.match(hosts[0]) or int(_port(hosts[0])) > 65535:
        return Refusal(400, "Host is not NAME or NAME:PORT.")
    return None


def _port(host: bytes) -> bytes:
    tail = host.rpartition(b":")[2]
    return tail if tail.isdigit() and b":" in host and not host.endswith(b"]") else b"0"


def _check_target(
    method: bytes, target: bytes, headers: dict[bytes, list[bytes]]
) -> Refusal | None:
    if not _TARGET.match(target) or b"#" in target:
        return Refusal(400, "The target has a character that must be escaped.")
    if target == b"*":
        return None if method == b"OPTIONS" else Refusal(400, "The target * is for OPTIONS.")
    path = target
    if not target.startswith(b"/"):
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            return Refusal(400, "The target does not start with /.")
        authority, slash, tail = rest.partition(b"/")
        if [authority.lower()] != [host.lower() for host in headers.get(b"host", [])]:
            return Refusal(400, "The target is for another host than Host says.")
        path = slash + tail or b"/"
    path = path.partition(b"?")[0]
    if _BAD_ESCAPE.search(path):
        return Refusal(400, "The path has a broken or NUL escape.")
    plain = path.lower().replace(b"%2e", b".").replace(b"%2f", b"/").replace(b"%5c", b"/")
    if b".." in plain.replace(b"\\", b"/").split(b"/"):
        return Refusal(400, "The path has a .. segment.")
    return None


def _check_twins(headers: dict[bytes, list[bytes]]) -> Refusal | None:
    """CGI and WSGI read ``X_Name`` and ``X-Name`` as the same variable."""
    for name in headers:
        if b"_" in name:
            twin = name.replace(b"_", b"-")
            if twin in headers or twin.startswith(_TRUSTED):
                return Refusal(400, "A header name has an underscore twin.")
    return None
