"""A streaming parser for multipart/form-data. Pure: it is handed a way to read.

One buffer is filled, searched for the delimiter and handed out in place, so a part
of any size costs one copy. The client's file name is a label and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import decode_rfc2231
from urllib.parse import unquote

from appliance.kernel.errors import BadRequest

BUFFER = 1024 * 1024  # bytes
MAX_PARTS = 16
MAX_PART_HEAD = 8 * 1024  # bytes; also of what may stand before the first boundary

_BOUNDARY = re.compile(r"""boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))(?:\s*;|\s*\Z)""", re.I)
_LEGAL = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]\Z")
_PARAMETER = re.compile(r""";\s*([A-Za-z0-9*_-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))""")


class BadForm(BadRequest):
    """A multipart body that breaks a rule; the sentence names it."""

    code = "bad-form"


@dataclass(frozen=True, slots=True)
class Part:
    """The head of one part. Its data follows, then `PartEnd`."""

    name: str
    filename: str | None  # None: a plain field


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part that was begun is complete."""


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``Content-Type`` header promises.

    Raises:
      BadForm: not multipart/form-data, or no legal boundary of 1 to 70 characters.
    """
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise BadForm("The body must be multipart/form-data.")
    found = _BOUNDARY.search(content_type)
    text = (found.group(1) or found.group(2)) if found else ""
    if not _LEGAL.match(text):
        raise BadForm("The boundary must have 1 to 70 legal characters.")
    return text.encode("ascii")


def parts(
    read_into: Callable[[memoryview], int], boundary: bytes, *, size: int = BUFFER
) -> Iterator[Part | PartEnd | memoryview]:
    """The parts of a body: a `Part`, pieces of its data, a `PartEnd`, and so on.

    A piece is only valid until the next one is asked for. What follows the final
    boundary is not read.

    Args:
      read_into: Fills a buffer from its start and returns how many bytes; 0 at the end.

    Raises:
      BadForm: too many parts, a part head that is too long or unreadable, or an end
        of the body before the final boundary.
    """
    window = _Window(read_into, size)
    delimiter = b"\r\n--" + boundary
    _skip_preamble(window, delimiter)
    for _ in range(MAX_PARTS):
        head = window.take_until(b"\r\n\r\n", MAX_PART_HEAD)
        yield _part(head)
        while True:
            at = window.find(delimiter)
            if at < 0:
                # The tail may be the beginning of a delimiter: it stays for the next round.
                yield from window.give(window.length - len(delimiter) + 1)
                window.fill("The body ends before its final boundary.")
                continue
            yield from window.give(at)
            ending = _after(window, len(delimiter))
            if ending is not None:
                break
            yield from window.give(len(delimiter))  # its text inside the data, after all
        yield PartEnd()
        window.drop(len(delimiter) + ending.length)
        if ending.final:
            return
    raise BadForm(f"The form has more than {MAX_PARTS} parts.")


@dataclass(frozen=True, slots=True)
class _Ending:
    """What follows a delimiter: ``--``, or white space and a line end."""

    length: int
    final: bool


class _Window:
    """Bytes that have been read and not yet handed out."""

    def __init__(self, read_into: Callable[[memoryview], int], size: int) -> None:
        self._read_into = read_into
        self._bytes = bytearray(size)
        self._view = memoryview(self._bytes)
        # A delimiter begins with a line end, which the first one lacks: it is put there.
        self._bytes[:2] = b"\r\n"
        self._start, self._end = 0, 2

    @property
    def length(self) -> int:
        return self._end - self._start

    def find(self, what: bytes) -> int:
        at = self._bytes.find(what, self._start, self._end)
        return at - self._start if at >= 0 else -1

    def peek(self, at: int, count: int) -> bytes:
        begin = self._start + at
        return bytes(self._view[begin : min(begin + count, self._end)])

    def drop(self, count: int) -> None:
        self._start += count

    def give(self, count: int) -> Iterator[memoryview]:
        if count > 0:
            yield self._view[self._start : self._start + count]
            self._start += count

    def fill(self, complaint: str) -> None:
        if self._start:
            self._bytes[: self.length] = self._bytes[self._start : self._end]
            self._start, self._end = 0, self.length
        if self._end == len(self._bytes):
            raise BadForm("A line of the form is too long.")
        count = self._read_into(self._view[self._end :])
        if not count:
            raise BadForm(complaint)
        self._end += count

    def take_until(self, what: bytes, limit: int) -> bytes:
        while (at := self.find(what)) < 0:
            if self.length > limit:
                break
            self.fill("The body ends inside a part's head.")
        if not 0 <= at <= limit:
            raise BadForm(f"A part's head is above {limit} bytes.")
        taken = self.peek(0, at)
        self.drop(at + len(what))
        return taken


def _skip_preamble(window: _Window, delimiter: bytes) -> None:
    skipped = 0
    while True:
        while (at := window.find(delimiter)) < 0:
            if window.length > MAX_PART_HEAD:
                raise BadForm("The body does not begin with its boundary.")
            window.fill("The body does not have its boundary.")
        skipped += at
        if skipped > MAX_PART_HEAD:
            raise BadForm("The body does not begin with its boundary.")
        ending = _after(window, at + len(delimiter))
        if ending is not None:
            window.drop(at + len(delimiter) + ending.length)
            if ending.final:
                raise BadForm("The form has no parts.")
            return
        window.drop(at + len(delimiter))


def _after(window: _Window, at: int) -> _Ending | None:
    """What follows a delimiter that ends at *at*; None when it is not one after all."""
    padding = 0
    while True:
        ahead = window.peek(at + padding, 2)
        if len(ahead) < 2:
            window.fill("The body ends before its final boundary.")
            continue
        if ahead == b"\r\n":
            return _Ending(padding + 2, final=False)
        if ahead == b"--" and not padding:
            return _Ending(2, final=True)
        if ahead[:1] not in (b" ", b"\t") or padding > 64:
            return None
        padding += 1


def _part(head: bytes) -> Part:
    # A part without headers begins with its blank line; the "head" would be its data.
    for line in () if head.startswith(b"\r\n") else head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() != b"content-disposition":
            continue
        text = value.decode("utf-8", "replace").strip()
        if text.partition(";")[0].strip().lower() != "form-data":
            break
        found = {
            key.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
            for key, quoted, bare in _PARAMETER.findall(text)
        }
        if "name" not in found:
            break
        filename = found.get("filename")
        if "filename*" in found:
            filename = _extended(found["filename*"])
        return Part(_label(found["name"]), None if filename is None else _label(filename))
    raise BadForm("A part has no Content-Disposition: form-data with a name.")


def _extended(value: str) -> str:
    charset, _, encoded = decode_rfc2231(value)
    return unquote(encoded, encoding=charset or "utf-8", errors="replace")


def _label(text: str) -> str:
    """*text* as something to show: no folders, no control characters, 255 characters."""
    last = re.split(r"[/\\]", text)[-1]
    return "".join(char for char in last if char.isprintable())[:255]
