"""Roles: what a user may do in one organization or in one space."""

from __future__ import annotations

import json

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import (
    ORGANIZATION_ROLES,
    SPACE_MANAGERS,
    SPACE_ROLES,
    changed_in_organization,
    changed_in_space,
)
from fake_controller.accounts import find_account, presentation_name, user_of
from fake_controller.acting import Acting
from fake_controller.errors import not_authorized, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import ToOne, plain
from fake_controller.http.spaces import SPACES
from fake_controller.http.users import USERS
from fake_controller.model import Organization, Role, Space, User
from fake_controller.roles import give_role
from fake_controller.store import Tx

GUID_MOST = 200  # characters; UAA may have ids of any form
TYPES = (*ORGANIZATION_ROLES, *SPACE_ROLES)
NO_ROLE_IN_ORGANIZATION = (
    "Users cannot be assigned roles in a space if they do not have a role in that space's "
    "organization."
)
ROLES = Listing(
    kind=Role,
    filters={
        "guids": "guid",
        "types": "type",
        "user_guids": "user_guid",
        "organization_guids": "organization_guid",
        "space_guids": "space_guid",
    },
    includes={"user": USERS, "space": SPACES, "organization": ORGANIZATIONS},
    present=lambda record, base, _: present.role(record, base),
)


class Who(msgspec.Struct):
    guid: str | None = None
    username: str | None = None
    origin: str | None = None


class ToWhom(msgspec.Struct):
    data: Who


class OfRole(msgspec.Struct):
    user: ToWhom
    organization: ToOne | None = None
    space: ToOne | None = None


class NewRole(msgspec.Struct):
    type: str
    relationships: OfRole


def routes(api: Api) -> None:
    """``/v3/roles``."""
    cc = api.cc
    api.lists("/v3/roles", ROLES)
    api.shows("/v3/roles/<guid>", ROLES)

    @api.post("/v3/roles", body=NewRole)
    async def create(wanted: NewRole) -> Response:
        _check(wanted)
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(ROLES, created.guid, 201)

    @api.delete("/v3/roles/<guid>")
    async def delete(guid: str) -> Response:
        await api.write(lambda acting: _begin_removal(acting, guid))

        def remove(tx: Tx) -> None:
            if role := tx.get(Role, guid):
                tx.delete(role)

        return api.accepted(await cc.start_job("role.delete", lambda: cc.store.write(remove)))


def _check(wanted: NewRole) -> None:
    """What can be wrong with the body alone."""
    if wanted.type not in TYPES:
        raise unprocessable(f"Type must be one of the allowed types {json.dumps(TYPES)}")
    if wrong := _contradiction(wanted):
        raise unprocessable(f"Relationships {wrong}")


def _contradiction(wanted: NewRole) -> str:
    """What the relationships of a body leave open, or say twice."""
    related, who = wanted.relationships, wanted.relationships.user.data
    if who.guid is not None and who.username is not None:
        return "Username cannot be specified when identifying user by guid"
    if who.guid is not None and who.origin is not None:
        return "User origin cannot be specified when identifying user by guid"
    if who.username is None and who.origin is not None:
        return "User origin cannot be specified without specifying the username"
    if who.username is None and who.guid is None:
        return "User must have a username or guid specified"
    if who.guid is not None and not 1 <= len(who.guid) <= GUID_MOST:
        return f"User guid must be between 1 and {GUID_MOST} characters"
    if related.space and related.organization:
        return "cannot specify both an organization and a space."
    if related.space is None and related.organization is None:
        return "must specify either a space or an organization."
    if related.space and wanted.type in ORGANIZATION_ROLES:
        return f"Space cannot be provided with the organization role type: '{wanted.type}'."
    if related.organization and wanted.type in SPACE_ROLES:
        return f"Organization cannot be provided with the space role type: '{wanted.type}'."
    return ""


def _create(acting: Acting, wanted: NewRole) -> Role:
    related = wanted.relationships
    if related.space:
        space = acting.into(
            Space, related.space.guid, rule=changed_in_space("guid", SPACE_MANAGERS)
        )
        user = _member(acting, related.user.data, space)
        return give_role(acting, wanted.type, user, space, plain(wanted))
    assert related.organization is not None
    organization = acting.into(
        Organization, related.organization.guid, rule=changed_in_organization("guid")
    )
    user = _anybody(acting, related.user.data)
    return give_role(acting, wanted.type, user, organization, plain(wanted))


def _member(acting: Acting, who: Who, space: Space) -> User:
    """The user, who has a role in the organization of *space*."""
    guid = who.guid or _guid_of(acting, who)
    if not acting.tx.first(Role, user_guid=guid or "", organization_guid=space.organization_guid):
        raise unprocessable(NO_ROLE_IN_ORGANIZATION)
    return user_of(acting.tx, str(guid))


def _anybody(acting: Acting, who: Who) -> User:
    guid = who.guid or _guid_of(acting, who)
    if guid is None:
        origin = f" and origin '{who.origin}'" if who.origin else ""
        raise unprocessable(f"No user exists with the username '{who.username}'{origin}.")
    return user_of(acting.tx, guid)


def _guid_of(acting: Acting, who: Who) -> str | None:
    acting.need_enabled("set_roles_by_username")
    account = find_account(acting.tx, who.username or "", who.origin)
    return account.guid if account else None


def _begin_removal(acting: Acting, guid: str) -> None:
    """Raises unless the role may go, and is no membership that space roles rest on."""
    tx, role = acting.tx, acting.change(Role, guid)
    if role.type == "organization_user":
        spaces = {one.guid for one in tx.find(Space, organization_guid=role.organization_guid)}
        if tx.first(Role, user_guid=role.user_guid, space_guid=spaces):
            raise unprocessable(
                "Cannot delete organization_user role while user has roles in spaces in that "
                "organization."
            )
    where = tx.get(Space, role.space_guid) or tx.get(Organization, role.organization_guid)
    user = tx.get(User, role.user_guid)
    if user is None or where is None:
        raise not_authorized()
    name = presentation_name(tx, user.guid)
    acting.audit(f"audit.user.{role.type}_remove", user, name=name, within=where)
