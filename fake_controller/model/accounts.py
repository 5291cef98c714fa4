"""Who may log in: UAA's part."""

from __future__ import annotations

from typing import ClassVar

from fake_controller.model.record import Record


class Account(Record, frozen=True, kw_only=True):
    """Somebody who may log in. Roles have the `User` of the same guid, which may be absent."""

    table: ClassVar[str] = "accounts"
    indexed: ClassVar[tuple[str, ...]] = ("username", "user_guid")

    user_guid: str  # its own guid: the way from a user to here
    username: str
    origin: str = "uaa"
    password: str = ""  # salted scrypt digest, see tokens.py; "" cannot log in
    groups: tuple[str, ...] = ()  # scopes besides everybody's
    given_name: str = ""
    family_name: str = ""
    emails: tuple[str, ...] = ()
    active: bool = True
    version: int = 0  # changes so far, as SCIM counts them


class Client(Record, frozen=True, kw_only=True):
    """A program that asks for tokens; its guid is the ``client_id``."""

    table: ClassVar[str] = "oauth_clients"

    secret: str = ""  # salted scrypt digest; "" is the empty secret
    name: str = ""
    grants: tuple[str, ...] = ("client_credentials",)
    authorities: tuple[str, ...] = ("uaa.none",)  # scopes of its own
    scopes: tuple[str, ...] = ()  # what it may be given of a user's
    redirect_uris: tuple[str, ...] = ()


class RevokedToken(Record, frozen=True, kw_only=True):
    """A token that does not count any more; its guid is the token's id."""

    table: ClassVar[str] = "revoked_tokens"
