"""What others ask about tokens: how they are signed, what one says, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping

from quart import Response, request

from fake_controller.errors import CloudError, UaaError
from fake_controller.http.api import Api
from fake_controller.http.scim import identity_of
from fake_controller.http.uaa import known_client
from fake_controller.model import Account


def routes(api: Api) -> None:
    """``/token_key``, ``/token_keys``, ``/check_token`` and ``/userinfo``."""
    cc = api.cc

    @api.get("/token_key", public=True)
    async def key() -> Response:
        return api.json(await _shared_key(api))

    @api.get("/token_keys", public=True)
    async def keys() -> Response:
        return api.json({"keys": [await _shared_key(api)]})

    @api.post("/check_token", public=True)
    async def check() -> Response:
        form = {**request.args.to_dict(), **(await request.form).to_dict()}
        await _resource_server(api, form)
        try:
            claims = cc.tokens.claims(form.get("token", ""))
        except CloudError as error:
            raise UaaError(400, "invalid_token", "The token is invalid or expired.") from error
        return api.json(claims)

    @api.get("/userinfo", public=True)
    @api.post("/userinfo", public=True)
    async def userinfo() -> Response:
        identity = identity_of(api)
        if "openid" not in identity.scopes:
            raise UaaError(403, "insufficient_scope", "Insufficient scope for this resource")
        account = await cc.store.read(lambda tx: tx.get(Account, identity.guid))
        if account is None:
            raise UaaError(401, "invalid_token", "The user of this token is gone.")
        return api.json(
            {
                "user_id": account.guid,
                "sub": account.guid,
                "user_name": account.username,
                "given_name": account.given_name,
                "family_name": account.family_name,
                "name": f"{account.given_name} {account.family_name}".strip(),
                "email": account.emails[0] if account.emails else account.username,
                "email_verified": True,
                "origin": account.origin,
            }
        )


async def _resource_server(api: Api, form: Mapping[str, str]) -> None:
    """Raises unless a client asks that may know all about tokens."""
    client = await known_client(api, form)
    if not {"uaa.resource", "uaa.admin"} & set(client.authorities):
        raise UaaError(403, "access_denied", "Access is denied")


async def _shared_key(api: Api) -> dict[str, str]:
    # Who has the key can make tokens, too: it is no public one.
    if not request.headers.get("Authorization"):
        raise UaaError(401, "unauthorized", "You are not authorized to see a shared key")
    await _resource_server(api, {})
    return {"kty": "MAC", "alg": "HS256", "use": "sig", "value": api.cc.tokens.key}
