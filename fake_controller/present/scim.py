"""Accounts as SCIM shows them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from fake_controller.model import Account
from fake_controller.present.shape import Json

SCHEMAS = ["urn:scim:schemas:core:1.0"]


def scim_user(account: Account, everybodys: tuple[str, ...]) -> Json:
    """A user; *everybodys* are the groups that need no entry."""
    groups = sorted({*account.groups, *everybodys})
    return {
        "id": account.guid,
        "meta": {
            "version": account.version,
            "created": _time(account.created_at),
            "lastModified": _time(account.updated_at),
        },
        "userName": account.username,
        "name": {"familyName": account.family_name, "givenName": account.given_name},
        "emails": [
            {"value": email, "primary": email == account.emails[0]} for email in account.emails
        ],
        "groups": [{"value": name, "display": name, "type": "DIRECT"} for name in groups],
        "approvals": [],
        "active": account.active,
        "verified": True,
        "origin": account.origin,
        "zoneId": "uaa",
        "schemas": SCHEMAS,
    }


def scim_page(resources: list[Json], total: int, start: int) -> Json:
    """One page of a SCIM list; *start* counts from 1."""
    return {
        "resources": resources,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "totalResults": total,
        "schemas": SCHEMAS,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:23] + "Z"
