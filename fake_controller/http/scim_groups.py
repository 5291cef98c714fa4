"""UAA's groups: the scopes that accounts can be given; a group's id is its name."""

from __future__ import annotations

import msgspec
from quart import Response, request

from fake_controller import present
from fake_controller.errors import UaaError
from fake_controller.http.api import Api
from fake_controller.http.scim import may, page_asked, scim_body
from fake_controller.model import Account
from fake_controller.present.scim import SCHEMAS
from fake_controller.present.shape import Json
from fake_controller.scim import group_matches
from fake_controller.store import Tx

#: Those that mean something here.
GROUPS = {
    "cloud_controller.admin": "May do everything",
    "cloud_controller.admin_read_only": "Sees everything",
    "cloud_controller.global_auditor": "Sees everything but secrets",
    "clients.read": "Sees clients",
    "clients.secret": "Sets the secrets of clients",
    "clients.write": "Adds, changes and removes clients",
    "scim.read": "Sees accounts and groups",
    "scim.write": "Adds, changes and removes accounts, and members of groups",
    "tokens.revoke": "Ends tokens of others",
    "uaa.admin": "May do everything with accounts, groups, clients and tokens",
}


class Member(msgspec.Struct):
    value: str
    type: str = "USER"
    origin: str = "uaa"


class ChangedGroup(msgspec.Struct):
    members: list[Member] = []


def routes(api: Api) -> None:
    """``/Groups``."""
    cc = api.cc

    @api.get("/Groups", public=True)
    async def groups() -> Response:
        may(api, "scim.read")
        wanted = request.args.get("filter", "").strip()
        start, count = page_asked()
        found = [name for name in sorted(GROUPS) if not wanted or group_matches(wanted, name)]
        listed = found[max(start - 1, 0) :][:count]
        shown = await cc.store.read(lambda tx: [_shown(tx, name) for name in listed])
        return api.json(present.scim_page(shown, len(found), start))

    @api.get("/Groups/<name>", public=True)
    async def group(name: str) -> Response:
        may(api, "scim.read")
        return api.json(await cc.store.read(lambda tx: _shown(tx, _known(name))))

    @api.route("PUT", "/Groups/<name>", public=True)
    async def set_members(name: str) -> Response:
        may(api, "scim.write")
        wanted = {member.value for member in (await scim_body(api, ChangedGroup)).members}

        def work(tx: Tx) -> Json:
            for gone in _members(tx, _known(name)):
                if gone.guid not in wanted:
                    _take(tx, gone, name)
            for guid in sorted(wanted):
                _give(tx, guid, name)
            return _shown(tx, name)

        return api.json(await cc.store.write(work))

    @api.get("/Groups/<name>/members", public=True)
    async def members(name: str) -> Response:
        may(api, "scim.read")
        found = await cc.store.read(lambda tx: _shown(tx, _known(name))["members"])
        return api.json(found)

    @api.post("/Groups/<name>/members", public=True)
    async def add(name: str) -> Response:
        may(api, "scim.write")
        member = await scim_body(api, Member)
        await cc.store.write(lambda tx: _give(tx, member.value, _known(name)))
        return api.json(msgspec.to_builtins(member), 201)

    @api.route("DELETE", "/Groups/<name>/members/<guid>", public=True)
    async def remove(name: str, guid: str) -> Response:
        may(api, "scim.write")

        def work(tx: Tx) -> Account:
            for account in _members(tx, _known(name)):
                if account.guid == guid:
                    return _take(tx, account, name)
            raise UaaError(404, "member_not_found", f"Member {guid} is not in group {name}")

        account = await cc.store.write(work)
        return api.json({"value": guid, "type": "USER", "origin": account.origin})


def _known(name: str) -> str:
    if name not in GROUPS:
        raise UaaError(404, "scim_resource_not_found", f"Group {name} does not exist")
    return name


def _members(tx: Tx, name: str) -> list[Account]:
    return [account for account in tx.find(Account) if name in account.groups]


def _give(tx: Tx, guid: str, name: str) -> None:
    account = tx.get(Account, guid)
    if account is None:
        raise UaaError(404, "scim_resource_not_found", f"User {guid} does not exist")
    if name not in account.groups:
        tx.change(account, groups=(*account.groups, name))


def _take(tx: Tx, account: Account, name: str) -> Account:
    return tx.change(account, groups=tuple(one for one in account.groups if one != name))


def _shown(tx: Tx, name: str) -> Json:
    members = [
        {"value": account.guid, "type": "USER", "origin": account.origin}
        for account in _members(tx, name)
    ]
    return {
        "id": name,
        "displayName": name,
        "description": GROUPS[name],
        "members": members,
        "zoneId": "uaa",
        "schemas": SCHEMAS,
    }
