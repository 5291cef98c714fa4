"""Accounts and the users that have roles: two records of one guid, as in UAA and its controller."""

from __future__ import annotations

from typing import Any

from fake_controller.conditions import ALL, is_, same_text
from fake_controller.errors import unprocessable
from fake_controller.model import Account, User
from fake_controller.store import Tx


def new_account(tx: Tx, **values: Any) -> Account:
    """An account that can log in once it has a password, with a guid that no user has."""
    guid = values.pop("guid", "") or tx.ids.guid()
    return tx.new(Account, guid=guid, user_guid=guid, **values)


def find_account(tx: Tx, username: str, origin: str | None = None) -> Account | None:
    """The account of that name, whatever the case of its letters.

    Raises:
      CloudError: 422, no origin is given and the name exists in several.
    """
    there = ALL if origin is None else is_("origin", origin)
    found = tx.find(Account, same_text("username", username), there)
    if len(found) > 1:
        origins = ", ".join(sorted(account.origin for account in found))
        raise unprocessable(
            f"Ambiguous user. User with username '{username}' exists in the following origins: "
            f"{origins}. Specify an origin to disambiguate."
        )
    return found[0] if found else None


def user_of(tx: Tx, guid: str) -> User:
    """The user that may have roles; made when the controller first hears of the guid."""
    return tx.get(User, guid) or tx.new(User, guid=guid)


def presentation_name(tx: Tx, guid: str) -> str:
    """What a user is called in sentences."""
    account = tx.get(Account, guid)
    return account.username if account else guid
