"""Who may talk to a local server: not the web pages that happen to be open beside it. Pure.

A page from elsewhere can reach 127.0.0.1 in two ways. It can let its own name point there
(DNS rebinding): then Host carries that name, and is not in the list. Or it can send a
request across origins: then the browser says so in Origin or Sec-Fetch-Site, which
programs other than browsers do not send.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.kernel.http.gate import Refusal

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
ANY = frozenset(("0.0.0.0", "::", ""))  # of a listener: every address of this machine

#: What changes nothing here, so that a page may as well cause it: it cannot read the answer.
_SAFE = (b"GET", b"HEAD", b"OPTIONS")
_OWN = (b"same-origin", b"none")  # of Sec-Fetch-Site; "none": typed into the address bar
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f.]*:[0-9a-f:.]*")
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Allowed:
    """The names that one listener answers to."""

    names: frozenset[str]  # lower case, without ports or brackets
    any_address: bool = False  # bound to all of them: then every literal address, too


def allowed(listening: Iterable[str], names: Iterable[str] = ()) -> Allowed:
    """What a listener at the addresses *listening*, which also goes by *names*, answers to."""
    addresses = [address.lower() for address in listening]
    known = {*LOOPBACK, *addresses, *(name.strip("[]").lower() for name in names)}
    return Allowed(frozenset(known - ANY), any_address=not ANY.isdisjoint(addresses))


def check_origin(head: bytes, here: Allowed) -> Refusal | None:
    """Why the request with this *head* is refused, or None. The gate has passed it before."""
    line, *lines = head.split(b"\r\n")
    host = origin = site = None
    upgrade = False
    for header in lines:
        name, _, value = header.partition(b":")
        match name.lower():
            case b"host":
                host = value.strip().decode("latin-1").lower()
            case b"origin":
                # Two of them can only be a trick: the second is in no known form.
                origin = value.strip().lower() if origin is None else b"null"
            case b"sec-fetch-site":
                site = value.strip().lower()
            case b"upgrade":
                upgrade = True
    if host is not None and not _is_ours(host, here):
        return Refusal(
            421,
            f"This server does not go by the name {_name(host)!r}. Use 127.0.0.1 or localhost, "
            "or name it in the settings (listen or external_url).",
        )
    if line.partition(b" ")[0].upper() in _SAFE and not upgrade:
        return None
    if origin is not None and not _same(origin.decode("latin-1"), host or ""):
        return Refusal(403, "Pages of other origins may not change anything here.")
    if site is not None and site not in _OWN:
        return Refusal(403, "Pages of other sites may not change anything here.")
    return None


def _is_ours(host: str, here: Allowed) -> bool:
    name = _name(host)
    # A literal address cannot be made to point elsewhere.
    return name in here.names or (here.any_address and _IP.fullmatch(name) is not None)


def _name(host: str) -> str:
    """*host* without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _same(origin: str, host: str) -> bool:
    """Whether *origin* is what a browser calls a page from *host*.

    The schemes are not compared: whoever puts TLS in front of this knows both as one.
    """
    scheme, separator, place = origin.partition("://")
    default = _PORTS.get(scheme)
    if not separator or default is None:
        return False
    return place.removesuffix(f":{default}") == host.removesuffix(f":{default}")
