"""Who may log in: UAA's part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fake_controller.model.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Account(Record):
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
