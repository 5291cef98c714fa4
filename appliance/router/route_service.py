"""Route services: where requests of a route go first, and how they are known when they are back.

What a service gets beside the request says where it came for, with the time, under a seal that
only routers can make. Pure.

Source: gorouter, ``routeservice/signature.go``; the seal here is an HMAC, which says as much to
a service, for which it is a value to send back.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest, digest
from urllib.parse import urlsplit

EXPIRES = 60.0  # seconds that a service may take
SEAL = 32  # bytes


class BadService(Exception):
    """A route service's URL that leads nowhere; the text is a sentence."""


class BadSignature(Exception):
    """A request that says it comes from a route service and does not prove it."""


class ExpiredSignature(BadSignature):
    """It did once, and comes too late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A route service's URL, taken apart."""

    url: str
    name: str  # host for the route table: lower case, without port
    port: int
    host: bytes  # for its Host header
    target: bytes  # path and query
    secure: bool  # reached by https, unless a route of ours leads to it


def service_of(url: str | None) -> Service | None:
    """The service at *url*; None without one.

    Raises:
      BadService: the URL is not ``http://`` or ``https://`` with a host.
    """
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadService(f"The route service URL '{url}' cannot be read.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise BadService(f"The route service URL '{url}' is not http:// or https:// and a host.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise BadService("The route service URL has characters that no URL has.")
    secure = parts.scheme == "https"
    return Service(
        url=url,
        name=parts.hostname.lower(),
        port=port or (443 if secure else 80),
        host=parts.netloc.encode(),
        target=target.encode(),
        secure=secure,
    )


class Signer:
    """Seals what services are sent, and checks what they send back.

    Args:
      key: The same for all routers that serve the same routes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, url: str, at: float, nonce: str) -> tuple[bytes, bytes]:
        """``X-CF-Proxy-Signature`` and ``X-CF-Proxy-Metadata`` of a request for *url*.

        Args:
          at: Seconds since 1970.
          nonce: Random text, so that no two requests have the same signature.
        """
        contents = json.dumps({"forwarded_url": url, "requested_time": at}).encode()
        metadata = json.dumps({"nonce": nonce}).encode()
        sealed = self._seal(contents, metadata) + contents
        return urlsafe_b64encode(sealed), urlsafe_b64encode(metadata)

    def check(self, signature: bytes, metadata: bytes, at: float) -> str:
        """The URL that was signed.

        Raises:
          BadSignature: this router's key did not make it.
          ExpiredSignature: that was more than EXPIRES ago.
        """
        try:
            sealed, about = urlsafe_b64decode(signature), urlsafe_b64decode(metadata)
        except ValueError:
            raise BadSignature("it is not base64") from None
        seal, contents = sealed[:SEAL], sealed[SEAL:]
        if not compare_digest(seal, self._seal(contents, about)):
            raise BadSignature("it was not made by this router")
        said = json.loads(contents)
        if at - said["requested_time"] > EXPIRES:
            raise ExpiredSignature("route service request expired")
        return str(said["forwarded_url"])

    def _seal(self, contents: bytes, metadata: bytes) -> bytes:
        return digest(self._key, sha256(metadata).digest() + contents, "sha256")
