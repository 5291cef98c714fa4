"""Users, as the controller knows them: who may have roles. How they log in is UAA's."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.accounts import find_account, new_account
from fake_controller.acting import Acting
from fake_controller.conditions import contains
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, new_labels
from fake_controller.model import Account, Organization, Role, Space, User
from fake_controller.store import Tx


def _accounts(tx: Tx, records: Sequence[User]) -> dict[str, Account]:
    found = tx.find(Account, guid=[record.guid for record in records])
    return {account.guid: account for account in found}


USERS = Listing(
    kind=User,
    filters={
        "guids": "guid",
        "usernames": "accounts[user_guid].username",
        "partial_usernames": lambda wanted: contains("accounts[user_guid].username", wanted),
        "origins": "accounts[user_guid].origin",
    },
    gather=_accounts,
    present=lambda record, base, accounts: present.user(record, base, accounts.get(record.guid)),
)


class NewUser(msgspec.Struct):
    guid: str | None = None
    username: str | None = None
    origin: str | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/users``, and those of an organization or a space."""
    cc = api.cc
    api.lists("/v3/users", USERS)
    api.shows("/v3/users/<guid>", USERS)
    api.labels("/v3/users/<guid>", USERS)
    api.lists(
        "/v3/organizations/<guid>/users",
        USERS,
        below=Organization,
        by="roles[user_guid].organization_guid",
    )
    api.lists("/v3/spaces/<guid>/users", USERS, below=Space, by="roles[user_guid].space_guid")

    @api.post("/v3/users", body=NewUser)
    async def create(wanted: NewUser) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(USERS, created.guid, 201)

    @api.delete("/v3/users/<guid>")
    async def delete(guid: str) -> Response:
        await api.write(lambda acting: acting.change(User, guid))
        return api.accepted(
            await cc.start_job(
                "user.delete", lambda: cc.store.write(lambda tx: forget_user(tx, guid))
            )
        )


def _create(acting: Acting, wanted: NewUser) -> User:
    acting.must_be_admin()
    _check(wanted)
    tx, guid = acting.tx, wanted.guid
    if guid is None:
        account = find_account(tx, str(wanted.username), wanted.origin) or new_account(
            tx, username=wanted.username, origin=wanted.origin
        )
        guid = account.guid
    if tx.get(User, guid):
        which = (
            f"guid '{guid}'"
            if wanted.guid
            else f"username '{wanted.username}' and origin '{wanted.origin}'"
        )
        raise unprocessable(f"User with {which} already exists.")
    return tx.new(User, guid=guid, **new_labels(wanted))


def _check(wanted: NewUser) -> None:
    if wanted.guid is not None:
        if not 1 <= len(wanted.guid) <= 200:
            raise unprocessable("Guid must be between 1 and 200 characters")
        for name in ("username", "origin"):
            if getattr(wanted, name) is not None:
                raise unprocessable(f"{name.capitalize()} cannot be provided with 'guid'")
    elif not wanted.username and not wanted.origin:
        raise unprocessable("Guid or 'username' and 'origin' must be provided")
    elif not wanted.username:
        raise unprocessable("Origin can only be provided together with 'username'")
    elif not wanted.origin:
        raise unprocessable("Username can only be provided together with 'origin'")
    elif wanted.origin == "uaa":
        raise unprocessable("Origin cannot be 'uaa' when creating a user by username")


def forget_user(tx: Tx, guid: str) -> None:
    """The user and all roles go; the account, which is UAA's, stays."""
    for role in tx.find(Role, user_guid=guid):
        tx.delete(role)
    if user := tx.get(User, guid):
        tx.delete(user)
