"""The bulk interface of 2012: the health manager reads the desired state in pages."""

from __future__ import annotations

import json

from quart import Response, request

from appliance.kernel.http.app import basic_auth
from fake_controller.controller import Controller
from fake_controller.errors import bad_query
from fake_controller.http.api import Api
from fake_controller.model import App, Process
from fake_controller.running import desired
from fake_controller.store import Tx

BATCH = 200  # apps in one answer of /bulk/apps


def routes(api: Api) -> None:
    """``/bulk/apps`` and ``/bulk/counts``."""
    cc = api.cc

    @api.get("/bulk/apps", public=True)
    async def bulk() -> Response:
        _login(cc, request.headers.get("Authorization", ""), cc.config.bulk_user)
        size = max(1, min(request.args.get("batch_size", BATCH, int), BATCH * 5))
        after = _position(request.args.get("bulk_token") or "{}")

        def look(tx: Tx) -> dict[str, dict[str, object]]:
            found = tx.find(Process, limit=size, offset=after)
            return {p.guid: _bulk(tx, p, after + at + 1) for at, p in enumerate(found)}

        results = await cc.store.read(look)
        return api.json({"results": results, "bulk_token": {"id": after + len(results)}})

    @api.get("/bulk/counts", public=True)
    async def counts() -> Response:
        _login(cc, request.headers.get("Authorization", ""), cc.config.bulk_user)
        return api.json({"counts": {"app": await cc.store.read(lambda tx: tx.count(App))}})


def _position(token: str) -> int:
    """How many droplets the pages before had, as the last one's token says."""
    try:
        return max(0, int(json.loads(token).get("id", 0)))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise bad_query("bulk_token must be what the last page gave") from None


def _bulk(tx: Tx, process: Process, number: int) -> dict[str, object]:
    wanted = desired(tx, process)
    return {
        "id": number,
        "name": wanted.app.name,
        "instances": wanted.instances,
        "state": wanted.app.state,
        "version": wanted.version,
        "package_state": "STAGED" if wanted.droplet else "PENDING",
        "memory": process.memory_in_mb,
        "framework": wanted.droplet.detected if wanted.droplet else None,
        "runtime": None,
        "updated_at": int(max(process.updated_at, wanted.app.updated_at)),
    }


def _login(cc: Controller, authorization: str, user: str) -> None:
    basic_auth({"authorization": authorization}, user, cc.secrets[user])
