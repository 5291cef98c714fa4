"""What a proxy for builds lets through: whom, to which addresses, by which words. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"https": 443, "http": 80}
LOCAL = "localhost"

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_CONNECT = re.compile(rb"CONNECT ([^ ]+) HTTP/1\.[01]")
_ABSOLUTE = re.compile(rb"([A-Z]+) http://([^ /?#]+)([^ #]*) (HTTP/1\.[01])", re.IGNORECASE)
#: What is said about this hop alone, and is not passed on.
_HOP = re.compile(rb"(?:proxy-[a-z-]+|connection|keep-alive) *:", re.IGNORECASE)

#: IPv4 addresses behind translators: what counts is the address that they lead to.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

#: Given out instead of real addresses by what stands between some machines and the internet;
#: no network of anybody's own has them: for benchmarks (RFC 2544), documentation (RFC 5737).
_STAND_INS = [
    ipaddress.ip_network(one)
    for one in ("198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A host and port that may be asked for.

    *named* tells who said so: the operator, in the settings, or only a program that asked. The
    operator's hosts may have private addresses, as a company's index does; loopback and
    link-local ones they may have only when given as digits, or as ``localhost``.
    """

    host: str  # in small letters, without brackets and without a dot at the end
    port: int
    named: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants of the proxy."""

    host: str
    port: int
    first: bytes = b""  # to be sent to the host before anything else; "" for a tunnel
    token: bytes = b""  # what it said in Proxy-Authorization

    @property
    def place(self) -> tuple[str, int]:
        """Host and port, as they are looked up."""
        return self.host, self.port

    @property
    def tunnel(self) -> bool:
        """Whether it asked by CONNECT, and waits for an answer of the proxy's own."""
        return not self.first


def targets(urls: Iterable[str]) -> frozenset[Target]:
    """The hosts of *urls* that an operator has set; what is no http or https URL says nothing."""
    found = set()
    for url in urls:
        # uv lets a name stand before the URL: NAME=URL.
        text = re.sub(r"^[A-Za-z0-9._-]+=(?=https?://)", "", url.strip())
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            continue
        if parts.scheme in DEFAULT_PORTS and parts.hostname:
            host = parts.hostname.rstrip(".")
            found.add(Target(host=host, port=port or DEFAULT_PORTS[parts.scheme], named=True))
    return frozenset(found)


def read_head(head: bytes) -> Asked | None:
    """What *head*, a request with its empty line, asks for; None when it is not understood.

    A request with a whole ``http://`` URL is made one for its host alone, after which the
    connection ends, so that the next one is looked at again.
    """
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if any(b"\r" in each or b"\n" in each or b"\0" in each for each in (line, *fields)):
        return None
    token = b""
    for each in fields:
        name, _, value = each.partition(b":")
        if name.lower() == b"proxy-authorization":
            token = value.strip()
    if match := _CONNECT.fullmatch(line):
        place = _authority(match[1], None)
        return Asked(*place, token=token) if place else None
    if match := _ABSOLUTE.fullmatch(line):
        method, authority, path, version = match.groups()
        place = _authority(authority, 80)
        if place is None:
            return None
        path = path if path.startswith(b"/") else b"/" + path
        kept = [each for each in fields if not _HOP.match(each)]
        first = [b"%b %b %b" % (method, path, version), *kept, b"Connection: close", b"", b""]
        return Asked(*place, first=b"\r\n".join(first), token=token)
    return None


def _authority(text: bytes, port: int | None) -> tuple[str, int] | None:
    match = re.fullmatch(rb"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@]+)(?::([0-9]{1,5}))?", text)
    if match is None:
        return None
    found = int(match[2]) if match[2] else port
    if found is None or not 0 < found < 65536:
        return None
    host = match[1].decode("latin-1").lower()
    if host.startswith("["):
        return host[1:-1], found
    return (host.rstrip("."), found) if _NAME.fullmatch(host) else None


def may_connect(target: Target, address: str) -> bool:
    """Whether *address*, which the name of *target* led to, may be connected to."""
    found = real_address(address)
    if found is None:
        return False
    literal = real_address(target.host)
    if target.named and literal is not None:
        return found == literal
    if target.named and target.host == LOCAL:
        return found.is_loopback
    if found.is_multicast or found.is_unspecified or found.is_loopback or found.is_link_local:
        return False
    if found.is_global or any(found in network for network in _STAND_INS):
        return True
    return target.named and found.is_private and not found.is_reserved


def real_address(text: str) -> Address | None:
    """The address *text*, taken out of the IPv6 address that it may hide in; None for a name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        teredo = address.teredo
        return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
    return address
