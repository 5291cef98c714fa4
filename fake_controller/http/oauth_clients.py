"""UAA's clients: programs that ask for tokens."""

from __future__ import annotations

from typing import Any

import msgspec
import trio
from quart import Response

from fake_controller.clients import BUILT_IN, GRANTS, find_client
from fake_controller.errors import UaaError
from fake_controller.http.api import Api
from fake_controller.http.scim import may, page_asked, scim_body
from fake_controller.model import Client
from fake_controller.store import Tx
from fake_controller.tokens import digest_password

LONGEST = 255  # characters of an id or a secret


class ChangedClient(msgspec.Struct):
    client_id: str | None = None
    name: str = ""
    authorized_grant_types: tuple[str, ...] = ("client_credentials",)
    authorities: list[str] = []
    scope: list[str] = []
    redirect_uri: list[str] = []


class NewClient(ChangedClient, kw_only=True):
    client_id: str
    client_secret: str = ""


class NewSecret(msgspec.Struct):
    secret: str


def routes(api: Api) -> None:
    """``/oauth/clients``."""
    cc = api.cc

    @api.get("/oauth/clients", public=True)
    async def clients() -> Response:
        may(api, "clients.read")
        start, count = page_asked()
        found = sorted(
            (*BUILT_IN.values(), *await cc.store.find(Client)), key=lambda client: client.guid
        )
        listed = found[max(start - 1, 0) :][:count]
        return api.json(
            {
                "resources": [_shown(client) for client in listed],
                "startIndex": start,
                "itemsPerPage": len(listed),
                "totalResults": len(found),
                "schemas": ["http://cloudfoundry.org/schema/scim/oauth-clients-1.0"],
            }
        )

    @api.get("/oauth/clients/<guid>", public=True)
    async def client(guid: str) -> Response:
        may(api, "clients.read")
        return api.json(_shown(await cc.store.read(lambda tx: _need(tx, guid))))

    @api.post("/oauth/clients", public=True)
    async def create() -> Response:
        may(api, "clients.write")
        wanted = await scim_body(api, NewClient)
        if not 1 <= len(wanted.client_id) <= LONGEST or not wanted.client_id.isprintable():
            raise _invalid(f"client_id must have 1 to {LONGEST} printable characters")
        values = _values(wanted)
        kept = await _digest(wanted.client_secret)

        def work(tx: Tx) -> Client:
            if find_client(tx, wanted.client_id):
                why = f"Client already exists: {wanted.client_id}"
                raise UaaError(409, "invalid_client", why)
            return tx.new(Client, guid=wanted.client_id, secret=kept, **values)

        return api.json(_shown(await cc.store.write(work)), 201)

    @api.route("PUT", "/oauth/clients/<guid>", public=True)
    async def update(guid: str) -> Response:
        may(api, "clients.write")
        values = _values(await scim_body(api, ChangedClient))
        changed = await cc.store.write(lambda tx: tx.change(_mutable(tx, guid), **values))
        return api.json(_shown(changed))

    @api.route("PUT", "/oauth/clients/<guid>/secret", public=True)
    async def set_secret(guid: str) -> Response:
        may(api, "clients.secret")
        kept = await _digest((await scim_body(api, NewSecret)).secret)
        await cc.store.write(lambda tx: tx.change(_mutable(tx, guid), secret=kept))
        return api.json({"status": "ok", "message": "secret updated"})

    @api.route("DELETE", "/oauth/clients/<guid>", public=True)
    async def delete(guid: str) -> Response:
        may(api, "clients.write")

        def work(tx: Tx) -> Client:
            gone = _mutable(tx, guid)
            tx.delete(gone)
            return gone

        return api.json(_shown(await cc.store.write(work)))


async def _digest(secret: str) -> str:
    if len(secret) > LONGEST:
        raise _invalid(f"client_secret has at most {LONGEST} characters")
    return await trio.to_thread.run_sync(digest_password, secret) if secret else ""


def _need(tx: Tx, guid: str) -> Client:
    client = find_client(tx, guid)
    if client is None:
        raise UaaError(404, "client_not_found", f"No client with requested id: {guid}")
    return client


def _mutable(tx: Tx, guid: str) -> Client:
    client = _need(tx, guid)
    if guid in BUILT_IN:
        raise UaaError(403, "access_denied", f"The client {guid} belongs to the installation.")
    return client


def _values(wanted: ChangedClient) -> dict[str, Any]:
    grants = wanted.authorized_grant_types
    if unknown := [grant for grant in grants if grant not in GRANTS]:
        raise _invalid(f"{unknown[0]} is not an allowed grant type. Must be one of: {GRANTS}")
    return {
        "name": wanted.name,
        "grants": tuple(grants),
        "authorities": tuple(wanted.authorities or ["uaa.none"]),
        "scopes": tuple(wanted.scope),
        "redirect_uris": tuple(wanted.redirect_uri),
    }


def _invalid(why: str) -> UaaError:
    return UaaError(400, "invalid_client", why)


def _shown(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.guid,
        "name": client.name,
        "authorized_grant_types": list(client.grants),
        "authorities": list(client.authorities),
        "scope": list(client.scopes) or ["uaa.none"],
        "redirect_uri": list(client.redirect_uris),
        "resource_ids": ["none"],
        "autoapprove": [],
        "lastModified": int(client.updated_at * 1000),
    }
