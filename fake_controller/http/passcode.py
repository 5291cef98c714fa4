"""One-time codes by which a person logs in at a terminal: ``cf login --sso``."""

from __future__ import annotations

import trio
from quart import Response, request

from fake_controller.errors import UaaError
from fake_controller.http.api import Api
from fake_controller.http.scim import identity_of
from fake_controller.http.uaa import right_account
from fake_controller.tokens import Identity

REALM = 'Basic realm="UAA"'  # lets a browser ask for name and password


def routes(api: Api) -> None:
    """``/passcode``."""

    @api.get("/passcode", public=True)
    async def passcode() -> Response:
        identity = await _who(api)
        if identity is None:
            return Response(
                "Log in to get a code.\n",
                status=401,
                headers={"WWW-Authenticate": REALM},
                content_type="text/plain; charset=utf-8",
            )
        code = api.cc.passcodes.issue(identity, trio.current_time())
        if "json" in request.headers.get("Accept", ""):
            return api.json(code)
        return Response(f"{code}\n", content_type="text/plain; charset=utf-8")


async def _who(api: Api) -> Identity | None:
    """Who asks: a person, by password or by token; None when nothing says so."""
    given = request.authorization
    if given is not None and given.type == "basic":
        account = await right_account(api, given.username or "", given.password or "")
        return Identity(guid=account.guid, name=account.username, admin=False) if account else None
    if not request.headers.get("Authorization"):
        return None
    identity = identity_of(api)
    if identity.type != "user":
        raise UaaError(403, "access_denied", "Codes are for users, and this is a client.")
    return identity
