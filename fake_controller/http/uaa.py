"""UAA's part: login prompts and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from typing import Any

import trio
from quart import Response, request

from fake_controller.accounts import find_account
from fake_controller.errors import CloudError
from fake_controller.http.api import Api
from fake_controller.model import Account
from fake_controller.tokens import password_matches


def routes(api: Api) -> None:
    """``/login`` and ``/oauth/token``."""

    @api.get("/login", public=True)
    async def login() -> Response:
        return api.json(
            {
                "app": {"version": "77.0.0"},
                "links": {"uaa": api.base, "login": api.base},
                "zone_name": "uaa",
                "prompts": {"username": ["text", "Email"], "password": ["password", "Password"]},
            }
        )

    @api.post("/oauth/token", public=True)
    async def token() -> Response:
        form = (await request.form).to_dict()
        form = {**request.args.to_dict(), **form}
        grant = form.get("grant_type", "")
        if grant == "password":
            return await _password(api, form)
        if grant == "refresh_token":
            return await _refresh(api, form)
        if grant == "client_credentials":
            return _client(api, form)
        return _refused(api, 400, "unsupported_grant_type", f"Unsupported grant type: {grant}")


async def _password(api: Api, form: Mapping[str, str]) -> Response:
    username = form.get("username", "")
    user = await api.cc.store.read(lambda tx: find_account(tx, username, "uaa"))
    kept = user.password if user else ""
    right = await trio.to_thread.run_sync(password_matches, form.get("password", ""), kept)
    if user is None or not right:
        return _refused(api, 401, "unauthorized", "Bad credentials")
    return _granted(api, user)


async def _refresh(api: Api, form: Mapping[str, str]) -> Response:
    try:
        guid = api.cc.tokens.refreshed(form.get("refresh_token", ""))
    except CloudError:
        return _refused(api, 401, "invalid_token", "The refresh token is invalid or expired")
    user = await api.cc.store.read(lambda tx: tx.get(Account, guid))
    if user is None:
        return _refused(api, 401, "invalid_token", "The user of this token is gone")
    return _granted(api, user)


def _client(api: Api, form: Mapping[str, str]) -> Response:
    client, secret = form.get("client_id", ""), form.get("client_secret", "")
    if not client and (given := request.authorization):
        client, secret = given.username or "", given.password or ""
    # The secret is compared for an unknown client, too, so that time tells nothing.
    right = compare_digest(secret.encode(), api.cc.secrets["registry"].encode())
    if client != "registry" or not right:
        return _refused(api, 401, "invalid_client", "Bad client credentials")
    kit = api.cc.kit
    return api.json(api.cc.tokens.for_client(client, now=kit.clock.time(), jti=kit.ids.hex()))


def _granted(api: Api, user: Account) -> Response:
    kit = api.cc.kit
    return api.json(api.cc.tokens.for_user(user, now=kit.clock.time(), jti=kit.ids.hex()))


def _refused(api: Api, status: int, error: str, description: str) -> Response:
    answer: dict[str, Any] = {"error": error, "error_description": description}
    return api.json(answer, status)
