"""Signed tokens: compact JSON Web Signatures by HS256, no other algorithm. Pure.

PyJWT would load whatever it finds of cryptography, RSA and TLS with it: 20 MB of the 80 that all
rooms together may take, for one HMAC.

Source: RFC 7515, sections 3.1 and 5; RFC 7518, section 3.2.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

MAX_TOKEN = 16 * 1024  # characters; a longer one is not looked at


class NotSigned(Exception):
    """It is no token, or none that was signed with this key."""


def sign(claims: Mapping[str, Any], key: str) -> str:
    """*claims* as a token."""
    header = {"alg": "HS256", "typ": "JWT"}
    signed = f"{_encoded(_compact(header))}.{_encoded(_compact(claims))}"
    return f"{signed}.{_signature(signed, key)}"


def verified(token: str, key: str) -> dict[str, Any]:
    """The claims of *token*. Whether they still hold is another question.

    Raises:
      NotSigned: the signature is not ours, or the token says that it is of another kind.
    """
    signed, _, signature = token.rpartition(".")
    header, dot, claims = signed.partition(".")
    if len(token) > MAX_TOKEN or not dot or not token.isascii():
        raise NotSigned
    # The texts are compared: one signature has several spellings, and only one of them is ours.
    if not hmac.compare_digest(signature, _signature(signed, key)):
        raise NotSigned
    # From here on it is something that we have signed ourselves.
    if _decoded(header).get("alg") != "HS256":
        raise NotSigned
    return _decoded(claims)


def _signature(signed: str, key: str) -> str:
    return _encoded(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> dict[str, Any]:
    try:
        value = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError as error:
        raise NotSigned from error
    if not isinstance(value, dict):
        raise NotSigned
    return value
