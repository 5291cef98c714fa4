"""Header blocks as they travel: passed on byte by byte, read only when a room asks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from appliance.kernel.bus.headers import BadHeader, size_of_headers

FIRST_LINE = b"NATS/1.0"
MAX_READ = 64  # headers that are read of one block
MAX_VALUE = 4096  # characters of a value that is read

NO_RESPONDERS = FIRST_LINE + b" 503\r\n\r\n"  # the server's word that nobody listens


def encode(headers: Mapping[str, str]) -> bytes:
    """The block that carries *headers*; a block that came from the wire stays as it was."""
    if isinstance(headers, WireHeaders):
        return headers.raw
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return b"%b\r\n%b\r\n" % (FIRST_LINE, lines.encode())


class WireHeaders(Mapping[str, str]):
    """A client's header block.

    Rooms read it, and send on what they have read. So only what can travel again is there:
    no names or values that `size_of_headers` refuses, nothing huge, and the first of
    several values.
    """

    __slots__ = ("_read", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._read: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return bool(self.raw)  # a block that nobody can read is passed on as well

    def __repr__(self) -> str:
        return f"WireHeaders({self.raw!r})"

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = _read(self.raw)
        return self._read


def _read(raw: bytes) -> dict[str, str]:
    first, *lines = raw.split(b"\r\n", MAX_READ + 1)
    if not first.startswith(FIRST_LINE):
        return {}
    found: dict[str, str] = {}
    # A status stands in the first line, and is read as nats-py reads it.
    status, _, description = first[len(FIRST_LINE) :].strip().partition(b" ")
    fields = [(b"Status", status), (b"Description", description)] if status else []
    parts = [line.partition(b":") for line in lines]
    fields += [(name, value) for name, colon, value in parts if colon]
    for raw_name, raw_value in fields:
        name = raw_name.decode("utf-8", "replace")
        value = raw_value.strip().decode("utf-8", "replace")
        if name not in found and len(value) <= MAX_VALUE:
            try:
                size_of_headers({name: value})
            except BadHeader:
                continue
            found[name] = value
    return found
