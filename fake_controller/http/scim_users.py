"""UAA's users: who may log in, by SCIM."""

from __future__ import annotations

import msgspec
import trio
from quart import Response, request

from fake_controller import present
from fake_controller.accounts import new_account
from fake_controller.conditions import ALL, same_text
from fake_controller.errors import UaaError
from fake_controller.http.api import Api
from fake_controller.http.scim import identity_of, may, page_asked, scim_body
from fake_controller.model import Account
from fake_controller.scim import accounts_where
from fake_controller.store import Tx
from fake_controller.tokens import USER_SCOPES, digest_password, password_matches

LONGEST = 255  # characters of a name or a password


class Name(msgspec.Struct, rename="camel"):
    family_name: str = ""
    given_name: str = ""


class Email(msgspec.Struct):
    value: str


class ScimUser(msgspec.Struct, rename="camel"):
    user_name: str
    password: str | None = None
    origin: str | None = None
    name: Name | None = None
    emails: list[Email] = []
    active: bool | None = None


class NewPassword(msgspec.Struct, rename="camel"):
    password: str
    old_password: str | None = None


def routes(api: Api) -> None:
    """``/Users``."""
    cc = api.cc

    @api.get("/Users", public=True)
    async def users() -> Response:
        may(api, "scim.read")
        wanted = accounts_where(text) if (text := request.args.get("filter", "").strip()) else ALL
        start, count = page_asked()

        def look(tx: Tx) -> tuple[list[Account], int]:
            found = tx.find(
                Account, wanted, order_by="username", limit=count, offset=max(start - 1, 0)
            )
            return found, tx.count(Account, wanted)

        found, total = await cc.store.read(look)
        shown = [present.scim_user(account, USER_SCOPES) for account in found]
        return api.json(present.scim_page(shown, total, start))

    @api.post("/Users", public=True)
    async def create() -> Response:
        may(api, "scim.write")
        wanted = await scim_body(api, ScimUser)
        origin = wanted.origin or "uaa"
        if origin == "uaa" and not wanted.password:
            raise UaaError(400, "invalid_password", "Password must be at least 1 characters long.")
        kept = await _digest(wanted.password) if wanted.password else ""

        def work(tx: Tx) -> Account:
            _check_name(tx, wanted.user_name, origin)
            return new_account(
                tx,
                origin=origin,
                password=kept,
                **_values(wanted),
                active=wanted.active is not False,
            )

        return api.json(present.scim_user(await cc.store.write(work), USER_SCOPES), 201)

    @api.get("/Users/<guid>", public=True)
    async def user(guid: str) -> Response:
        if identity_of(api).guid != guid:
            may(api, "scim.read")
        account = await cc.store.read(lambda tx: _account(tx, guid))
        return api.json(present.scim_user(account, USER_SCOPES))

    @api.route("PUT", "/Users/<guid>", public=True)
    async def update(guid: str) -> Response:
        may(api, "scim.write")
        wanted = await scim_body(api, ScimUser)

        def work(tx: Tx) -> Account:
            account = _account(tx, guid)
            _check_name(tx, wanted.user_name, account.origin, but=guid)
            active = account.active if wanted.active is None else wanted.active
            return tx.change(account, **_values(wanted), active=active, version=account.version + 1)

        return api.json(present.scim_user(await cc.store.write(work), USER_SCOPES))

    @api.route("DELETE", "/Users/<guid>", public=True)
    async def delete(guid: str) -> Response:
        may(api, "scim.write")

        def work(tx: Tx) -> Account:
            account = _account(tx, guid)
            tx.delete(account)
            return account

        return api.json(present.scim_user(await cc.store.write(work), USER_SCOPES))

    @api.route("PUT", "/Users/<guid>/password", public=True)
    async def set_password(guid: str) -> Response:
        asker = identity_of(api)
        wanted = await scim_body(api, NewPassword)
        own = asker.guid == guid
        if not own:
            may(api, "scim.write")
        account = await cc.store.read(lambda tx: _account(tx, guid))
        if own and not await trio.to_thread.run_sync(
            password_matches, wanted.old_password or "", account.password
        ):
            raise UaaError(401, "unauthorized", "Old password is incorrect")
        if own and wanted.old_password == wanted.password:
            raise UaaError(
                422, "invalid_password", "Your new password cannot be the same as the old password."
            )
        kept = await _digest(wanted.password)
        await cc.store.write(
            lambda tx: tx.change(
                account := _account(tx, guid), password=kept, version=account.version + 1
            )
        )
        return api.json({"status": "ok", "message": "password updated"})


async def _digest(password: str) -> str:
    if not 1 <= len(password) <= LONGEST:
        raise UaaError(
            400, "invalid_password", f"Password must be between 1 and {LONGEST} characters long."
        )
    return await trio.to_thread.run_sync(digest_password, password)


def _account(tx: Tx, guid: str) -> Account:
    account = tx.get(Account, guid)
    if account is None:
        raise UaaError(404, "scim_resource_not_found", f"User {guid} does not exist")
    return account


def _check_name(tx: Tx, name: str, origin: str, *, but: str = "") -> None:
    if not name.strip():
        raise UaaError(400, "invalid_scim_resource", "A username must be provided.")
    if len(name) > LONGEST:
        raise UaaError(
            400, "invalid_scim_resource", f"A username has at most {LONGEST} characters."
        )
    for account in tx.find(Account, same_text("username", name), origin=origin):
        if account.guid != but:
            raise UaaError(409, "scim_resource_already_exists", f"Username already in use: {name}")


def _values(wanted: ScimUser) -> dict[str, object]:
    name = wanted.name or Name()
    return {
        "username": wanted.user_name,
        "given_name": name.given_name,
        "family_name": name.family_name,
        "emails": tuple(email.value for email in wanted.emails),
    }
