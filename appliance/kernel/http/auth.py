"""Basic authentication, checked in constant time."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from typing import Protocol

from appliance.kernel.errors import Unauthorized


class Headers(Protocol):
    """A mapping of header names, or a framework's own headers."""

    def get(self, key: str, /) -> str | None:
        """The value of one header."""


def basic_auth(headers: Headers, user: str, password: str) -> None:
    """Return when *headers* carry exactly this user and password.

    Bytes are compared, since `hmac.compare_digest` refuses non-ASCII text, and the
    password is compared for an unknown user too, so that time tells nothing.

    Raises:
      Unauthorized: no credentials, unreadable ones, or wrong ones.
    """
    given = headers.get("authorization") or headers.get("Authorization") or ""
    scheme, _, encoded = given.partition(" ")
    if scheme.lower() != "basic" or not encoded.strip():
        raise Unauthorized("This needs a user and a password.")
    try:
        pair = b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Unauthorized("The credentials are not readable.") from None
    given_user, _, given_password = pair.partition(b":")
    right_user = hmac.compare_digest(given_user, user.encode())
    right_password = hmac.compare_digest(given_password, password.encode())
    if not (right_user and right_password):
        raise Unauthorized("Wrong user or password.")


def basic_header(user: str, password: str) -> str:
    """The value of ``Authorization`` for *user* and *password*."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
