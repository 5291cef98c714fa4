"""What domains may be called, and who may use them."""

from __future__ import annotations

import re

from fake_controller.conditions import Condition, ends_with, is_, same_text
from fake_controller.errors import CloudError, unprocessable
from fake_controller.model import Domain, Route
from fake_controller.store import Tx

LONGEST = 253  # characters
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.IGNORECASE)


def usable_in(organization_guid: str) -> Condition:
    """The domains whose names routes of an organization may have."""
    return (
        is_("organization_guid", None)
        | is_("organization_guid", organization_guid)
        | is_("domain_shares[domain_guid].organization_guid", organization_guid)
    )


def check_form(name: str) -> None:
    """Raises 422 when *name* is no domain name."""
    if not 3 <= len(name) <= LONGEST:
        long = len(name) > LONGEST
        which, much = ("long", f"maximum is {LONGEST}") if long else ("short", "minimum is 3")
        raise unprocessable(f"Name is too {which} ({much} characters)")
    if not re.fullmatch(r"[a-z0-9.-]*", name, re.IGNORECASE):
        raise unprocessable("Name must consist of alphanumeric characters and hyphens")
    if "." not in name:
        raise unprocessable('Name must contain at least one "."')
    if any(len(label) > 63 for label in name.split(".")):
        raise unprocessable("Name subdomains must each be at most 63 characters")
    if not _NAME.fullmatch(name):
        raise unprocessable("Name does not comply with RFC 1035 standards")


def check_is_free(tx: Tx, name: str, organization_guid: str | None) -> None:
    """Raises 422 when *name* is somebody's, or lies above or below what is somebody else's.

    Otherwise one tenant could take names in the domain of another.
    """
    if tx.first(Domain, same_text("name", name)):
        raise unprocessable(f'The domain name "{name}" is already in use')
    labels = name.split(".")
    above = [".".join(labels[number:]) for number in range(1, len(labels))]
    for parent in above:
        domain = tx.first(Domain, same_text("name", parent))
        if domain and domain.organization_guid not in (None, organization_guid):
            raise _reserved(name, domain.name, "another domain")
    if organization_guid is not None:
        for domain in tx.find(Domain, ends_with("name", f".{name}")):
            if domain.organization_guid != organization_guid:
                raise _reserved(name, domain.name, "another domain")
    if tx.first(Route, same_text("domain.name", above[0]), host=labels[0].lower()):
        raise _reserved(name, name, "a route")


def _reserved(name: str, other: str, by: str) -> CloudError:
    return unprocessable(
        f'The domain name "{name}" cannot be created because "{other}" is already reserved by {by}'
    )
