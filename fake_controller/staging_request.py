"""What a stager is asked for a build."""

from __future__ import annotations

import pathlib
from urllib.parse import quote, urlsplit, urlunsplit

from appliance.kernel.vcap import services_by_label
from appliance.stager.messages import BuildpackToTry, Properties, Resources, StagingRequest
from fake_controller.buildpacks import taking_part
from fake_controller.controller import Controller
from fake_controller.model import App, Build, Buildpack, Process
from fake_controller.running import desired, vcap_application
from fake_controller.services.bound import bound_services
from fake_controller.store import Tx
from fake_controller.surroundings import as_lines, staging_variables


def staging_request(
    tx: Tx, cc: Controller, build: Build, app: App, upload_id: str
) -> StagingRequest:
    """The request of 2012, with this controller's one-shot addresses in it."""
    web = tx.latest(Process, app_guid=app.guid, type="web")
    command = web.command if web else None
    services = bound_services(tx, app.guid)
    return StagingRequest(
        app_id=app.guid,
        task_id=build.guid.replace("-", ""),
        download_uri=_with_login(cc, f"/staging/app/{app.guid}?package={build.package_guid}"),
        upload_uri=_with_login(cc, f"/staging/droplet/{app.guid}/{upload_id}"),
        properties=Properties(
            resources=Resources(memory=build.memory_in_mb, disk=build.disk_in_mb),
            environment=as_lines(staging_variables(tx, app)),
            buildpacks=list(build.buildpacks),
            buildpack_list=[
                _to_try(cc, one, asked_for=bool(build.buildpacks))
                for one in taking_part(tx, build.buildpacks, build.stack)
            ],
            stack=build.stack,
            vcap_application=vcap_application(desired(tx, web), cc) if web else None,
            services=services,
            vcap_services=services_by_label(services),
            meta={"command": command} if command else {},
        ),
        timeout=cc.config.staging_timeout,
    )


def _to_try(cc: Controller, one: Buildpack | str, *, asked_for: bool) -> BuildpackToTry:
    """A buildpack as stagers are told of it: uploaded here, their own, or somewhere else's URL."""
    if isinstance(one, str):
        return BuildpackToTry(name=one, skip_detect=True)
    if one.sha256 is None:
        return BuildpackToTry(name=one.built_in or one.name, skip_detect=asked_for)
    url = _with_login(cc, f"/staging/buildpack/{one.sha256}")
    return BuildpackToTry(name=one.name, url=url, sha256=one.sha256, skip_detect=asked_for)


def _with_login(cc: Controller, path: str) -> str:
    """*path* here, with the stagers' credentials in the URL, as in 2012."""
    parts = urlsplit(cc.url)
    user = cc.config.staging_user
    login = f"{quote(user, safe='')}:{quote(cc.secrets[user], safe='')}@{parts.netloc}"
    return urlunsplit((parts.scheme, login, "", "", "")) + str(pathlib.PurePosixPath(path))
