"""UAA's part: login prompts, tokens, and their end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import trio
from quart import Response, request

from fake_controller.accounts import find_account, user_of
from fake_controller.clients import find_client, secret_matches
from fake_controller.errors import CloudError, UaaError
from fake_controller.http.api import Api
from fake_controller.http.scim import identity_of, may
from fake_controller.model import Account, Client, RevokedToken
from fake_controller.store import Tx
from fake_controller.tokens import password_matches, revision_of

Form = Mapping[str, str]


def routes(api: Api) -> None:
    """``/login``, ``/oauth/token`` and ``/oauth/token/revoke``."""
    cc = api.cc

    @api.get("/login", public=True)
    async def login() -> Response:
        where = f"Temporary Authentication Code ( Get one at {api.base}/passcode )"
        return api.json(
            {
                "app": {"version": "77.0.0"},
                "links": {"uaa": api.base, "login": api.base, "passcode": "/passcode"},
                "zone_name": "uaa",
                "prompts": {
                    "username": ["text", "Email"],
                    "password": ["password", "Password"],
                    "passcode": ["password", where],
                },
            }
        )

    @api.post("/oauth/token", public=True)
    async def token() -> Response:
        form = {**request.args.to_dict(), **(await request.form).to_dict()}
        grant = form.get("grant_type", "")
        if not grant:
            raise UaaError(400, "invalid_request", "Missing grant type")
        if grant not in ("password", "refresh_token", "client_credentials"):
            raise UaaError(400, "unsupported_grant_type", f"Unsupported grant type: {grant}")
        client = await known_client(api, form)
        if grant not in client.grants:
            raise UaaError(401, "unauthorized_client", f"Unauthorized grant type: {grant}")
        if grant == "client_credentials":
            now, jti = cc.kit.clock.time(), cc.kit.ids.hex()
            answer = cc.tokens.for_client(client.guid, client.authorities, now=now, jti=jti)
            return api.json(answer)
        if grant == "refresh_token":
            return await _refresh(api, form, client)
        if "passcode" in form:
            account = await _by_passcode(api, form["passcode"])
        else:
            account = await _by_password(api, form)
        return await _granted(api, account, client, form.get("scope", "").split())

    @api.route("DELETE", "/oauth/token/revoke/<jti>", public=True)
    async def revoke(jti: str) -> Response:
        # Everybody ends the token that they show; others' are for administrators.
        if identity_of(api).token != jti:
            may(api, "tokens.revoke")

        def work(tx: Tx) -> None:
            if tx.get(RevokedToken, jti) is None:
                tx.new(RevokedToken, guid=jti)

        await cc.store.write(work)
        cc.tokens.revoked.add(jti)
        return api.json({"message": "OK"})


async def known_client(api: Api, form: Form) -> Client:
    """The client that asks, by Basic login or in the form; ``cf`` when it names none.

    Raises:
      UaaError: 401, it is unknown or its secret is wrong.
    """
    client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
    given = request.authorization
    if given is not None and given.type == "basic":
        client_id, secret = given.username or "", given.password or ""
    elif not client_id and form.get("grant_type") != "client_credentials":
        client_id = "cf"
    client = await api.cc.store.read(lambda tx: find_client(tx, client_id))
    right = await trio.to_thread.run_sync(secret_matches, client, secret, api.cc.secrets)
    if client is None or not right:
        raise UaaError(401, "invalid_client", "Bad client credentials")
    return client


async def _by_password(api: Api, form: Form) -> Account:
    if _origin(form) not in (None, "uaa"):
        # Who belongs elsewhere has no password here.
        raise UaaError(401, "unauthorized", "The origin provided in the login_hint is invalid.")
    account = await right_account(api, form.get("username", ""), form.get("password", ""))
    if account is None:
        raise UaaError(401, "unauthorized", "Bad credentials")
    return account


def _origin(form: Form) -> Any:
    """Where the user says to belong: ``login_hint={"origin": "uaa"}``."""
    try:
        hint = msgspec.json.decode(form.get("login_hint") or "{}")
    except msgspec.DecodeError:
        return ""
    return hint.get("origin") if isinstance(hint, dict) else ""


async def right_account(api: Api, username: str, password: str) -> Account | None:
    """The active account whose password it is, or None, after the same time."""
    account = await api.cc.store.read(lambda tx: find_account(tx, username, "uaa"))
    kept = account.password if account else ""
    right = await trio.to_thread.run_sync(password_matches, password, kept)
    return account if account and right and account.active else None


async def _by_passcode(api: Api, passcode: str) -> Account:
    identity = api.cc.passcodes.redeem(passcode.strip(), trio.current_time())
    if identity is not None:
        account = await api.cc.store.read(lambda tx: tx.get(Account, identity.guid))
        if account is not None and account.active:
            return account
    raise UaaError(401, "unauthorized", "Invalid passcode")


async def _refresh(api: Api, form: Form, client: Client) -> Response:
    try:
        refresh = api.cc.tokens.refreshed(form.get("refresh_token", ""))
    except CloudError as error:
        why = "The refresh token is invalid or expired"
        raise UaaError(401, "invalid_token", why) from error
    account = await api.cc.store.read(lambda tx: tx.get(Account, refresh.user))
    if account is None or not account.active or revision_of(account) != refresh.revision:
        why = "The user of this token is gone, or has another password"
        raise UaaError(401, "invalid_token", why)
    if client.guid != refresh.client:
        why = f"Wrong client for this refresh token: {client.guid}"
        raise UaaError(400, "invalid_grant", why)
    return await _granted(api, account, client, form.get("scope", "").split())


async def _granted(api: Api, account: Account, client: Client, wanted: list[str]) -> Response:
    kit = api.cc.kit
    if client.scopes:
        wanted = [scope for scope in wanted or client.scopes if scope in client.scopes]
    answer = api.cc.tokens.for_user(
        account, now=kit.clock.time(), jti=kit.ids.hex(), client=client.guid, wanted=wanted
    )
    # Whoever logs in may be given roles from then on.
    await api.cc.store.write(lambda tx: user_of(tx, account.guid))
    return api.json(answer)
