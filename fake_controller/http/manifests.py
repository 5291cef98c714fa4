"""App manifests: applied to a space, and compared with what it has."""

from __future__ import annotations

from functools import partial

import trio
from quart import Response, request

from fake_controller.acting import Acting
from fake_controller.http.api import Api
from fake_controller.http.environment import READABLE
from fake_controller.manifest.apply import create_missing, space_for
from fake_controller.manifest.diff import diff
from fake_controller.manifest.gather import whole_apps
from fake_controller.manifest.generate import WholeApp, generate, written
from fake_controller.manifest.job import apply_all
from fake_controller.manifest.parse import check_type, parse
from fake_controller.manifest.payload import AppManifest
from fake_controller.manifest.validate import validated
from fake_controller.model import App

YAML = "application/x-yaml"


def routes(api: Api) -> None:
    """``/v3/spaces/:guid/actions/apply_manifest`` and its kin."""
    cc = api.cc

    @api.route("POST", "/v3/spaces/<guid>/actions/apply_manifest", takes=YAML)
    async def apply(guid: str) -> Response:
        await api.read(lambda acting: space_for(acting, guid))
        manifests = await _manifests()

        def begin(acting: Acting) -> tuple[list[App], list[App]]:
            return create_missing(acting, space_for(acting, guid), manifests, cc.config)

        apps, new = await api.write(begin)
        for app in new:
            # Log clients wait for a line before they follow an app.
            cc.log(app.guid, f"Created app with guid {app.guid}")
        runner, identity = api.workers.runner, api.identity()
        work = partial(apply_all, cc, runner, identity, apps, manifests)
        return api.accepted(await cc.start_job("space.apply_manifest", work))

    @api.route("POST", "/v3/spaces/<guid>/manifest_diff", takes=YAML)
    async def compare(guid: str) -> Response:
        await api.read(lambda acting: space_for(acting, guid))
        manifests = await _manifests()

        def look(acting: Acting) -> list[WholeApp]:
            named = [manifest.name for manifest in manifests]
            return whole_apps(acting.tx, acting.tx.find(App, space_guid=guid, name=named))

        there = {whole.app.name: generate(whole) for whole in await api.read(look)}
        submitted = [manifest.submitted for manifest in manifests]
        return api.json({"diff": diff(submitted, there)}, 201)

    @api.get("/v3/apps/<guid>/manifest")
    async def of_app(guid: str) -> Response:
        def look(acting: Acting) -> list[WholeApp]:
            app = acting.change(App, guid, rule=READABLE)
            return whole_apps(acting.tx, [app])

        found = [generate(whole) for whole in await api.read(look)]
        return Response(written(found), content_type=YAML)


async def _manifests() -> list[AppManifest]:
    check_type(request.headers.get("Content-Type", ""))
    data = await request.get_data()
    assert isinstance(data, bytes)
    # Large ones take a quarter of a second.
    return await trio.to_thread.run_sync(lambda: validated(parse(data)))
