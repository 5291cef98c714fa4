"""Addresses of NATS servers, as people write them. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from appliance.kernel.errors import ConfigError

PORT = 4222  # what NATS servers listen on unless they are told otherwise
SCHEMES = ("nats", "tls")


def servers(where: str) -> list[str]:
    """The servers of one cluster: ``nats://a,b:4223,c`` as a URL for each of them.

    What the first one says, scheme and login, holds for those that do not say otherwise.

    Raises:
      ConfigError: one of them is no address; no login is repeated in the sentence.
    """
    first, *others = [one.strip() for one in where.split(",")]
    scheme, separator, place = first.partition("://")
    if not separator:
        scheme, place = "nats", first
    login, at, _ = place.rpartition("@")
    found = [_url(scheme, place)]
    for other in others:
        own_scheme, separator, place = other.partition("://")
        if not separator:
            own_scheme, place = scheme, other
        found.append(_url(own_scheme, place if "@" in place else login + at + place))
    return found


def _url(scheme: str, place: str) -> str:
    bare = place.rpartition("@")[2]
    rule = "must be nats://HOST:PORT or tls://HOST:PORT, and more of them after commas"
    try:
        parts = urlsplit(f"{scheme}://{place}")
        port = parts.port or PORT
    except ValueError:
        raise ConfigError("bus", f"{scheme}://{bare}", rule) from None
    strange = parts.path.strip("/") or parts.query or parts.fragment
    if scheme not in SCHEMES or not parts.hostname or strange or set(bare) & set(" \t\r\n"):
        raise ConfigError("bus", f"{scheme}://{bare}", rule)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    login, at, _ = place.rpartition("@")
    return f"{scheme}://{login}{at}{host}:{port}"
