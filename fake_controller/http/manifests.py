"""App manifests: applied to a space, and compared with what it has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from quart import Response, request

from fake_controller.acting import Acting
from fake_controller.http.api import Api
from fake_controller.http.environment import READABLE
from fake_controller.manifest.apply import (
    apply_manifest,
    create_missing,
    space_for,
    told_of,
)
from fake_controller.manifest.binding import told_of_service
from fake_controller.manifest.diff import diff
from fake_controller.manifest.gather import whole_apps
from fake_controller.manifest.generate import WholeApp, generate, written
from fake_controller.manifest.parse import check_type, parse
from fake_controller.manifest.payload import AppManifest
from fake_controller.manifest.validate import validated
from fake_controller.model import App
from fake_controller.tokens import Identity

YAML = "application/x-yaml"


def routes(api: Api) -> None:
    """``/v3/spaces/:guid/actions/apply_manifest`` and its kin."""
    cc = api.cc

    @api.route("POST", "/v3/spaces/<guid>/actions/apply_manifest", takes=YAML)
    async def apply(guid: str) -> Response:
        await api.read(lambda acting: space_for(acting, guid))
        manifests = await _manifests()

        def begin(acting: Acting) -> list[App]:
            return create_missing(acting, space_for(acting, guid), manifests, cc.config)

        identity = api.identity()
        apps = await api.write(begin)
        job = await cc.start_job(
            "space.apply_manifest", lambda: _apply_all(api, identity, apps, manifests)
        )
        return api.accepted(job)

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
    return validated(parse(data))


async def _apply_all(
    api: Api, identity: Identity, apps: Sequence[App], manifests: Sequence[AppManifest]
) -> None:
    cc = api.cc
    for app, manifest in zip(apps, manifests, strict=True):
        apply = partial(apply_manifest, app_guid=app.guid, manifest=manifest, config=cc.config)
        applied = await cc.write_as(identity, apply)
        cc.log(app.guid, f"Updated app with guid {app.guid}")
        for process in applied.scaled:
            api.workers.runner.converge(process)
        if applied.routed:
            await api.workers.runner.update_routes(app.guid)
        for service, begun in applied.bound:
            cc.operator.begin(begun.leftovers)
            if begun.errand is not None:
                with told_of(manifest), told_of_service(service):
                    await cc.operator.perform(begun.errand)
