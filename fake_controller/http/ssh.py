"""One-time codes for ssh, and whether an app lets anybody in."""

from __future__ import annotations

import trio
from quart import Response, request

from fake_controller.acting import Acting
from fake_controller.errors import CloudError, UaaError
from fake_controller.http.api import Api
from fake_controller.model import App, Space
from fake_controller.ssh import disabled
from fake_controller.ssh_room import CLIENT
from fake_controller.tokens import Identity


def routes(api: Api) -> None:
    """``/oauth/authorize`` and ``/v3/apps/:guid/ssh_enabled``."""

    @api.get("/oauth/authorize", public=True)
    async def authorize() -> Response:
        identity = _user(api)
        if request.args.get("response_type") != "code":
            raise UaaError(400, "unsupported_response_type", "The response_type must be code.")
        if request.args.get("client_id") != CLIENT:
            raise UaaError(400, "invalid_client", f"Codes are for the client {CLIENT} only.")
        code = api.cc.codes.issue(identity, trio.current_time())
        # Nobody follows it: clients take the code out of it.
        return Response("", status=302, headers={"Location": f"{api.base}/login?code={code}"})

    @api.get("/v3/apps/<guid>/ssh_enabled")
    async def ssh_enabled(guid: str) -> Response:
        def look(acting: Acting) -> str:
            app = acting.see(App, guid)
            return disabled(app, acting.tx.need(Space, app.space_guid))

        reason = await api.read(look)
        return api.json({"enabled": not reason, "reason": reason})


def _user(api: Api) -> Identity:
    """Who asks, a person; errors are as UAA words them."""
    try:
        identity = api.identity()
    except CloudError as error:
        raise UaaError(401, "unauthorized", "A valid access token is required.") from error
    if identity.type != "user":
        raise UaaError(403, "access_denied", "Codes are for users, and this is a client.")
    return identity
