"""The flow of a push, from uploaded files to an app that answers.

1. *uploaded*: the client's files have become a package (`bits`, ``http/packages``).
2. *staging*: a stager is asked on the bus; it fetches the package and makes a droplet.
3. *stored*: the stager brings the droplet here, an archiver verifies and keeps it, and
   copies it to its peers.
4. *starting*: the app's processes want instances of the new droplet (`running`).
5. *running*: DEAs start them, and the router learns their names (`actual`).

Steps 2 and 3 are one build; they are told here. The client then makes the droplet
current and starts the app, or asks for a deployment (`deploying`).
"""

from __future__ import annotations

import pathlib
from dataclasses import asdict
from urllib.parse import quote, urlsplit, urlunsplit

from appliance.kernel.bus import NoResponders, RequestTimeout
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.blob_plane import Spooled
from appliance.kernel.vcap import services_by_label
from appliance.stager.messages import (
    BuildpackToTry,
    Properties,
    Resources,
    StagingReply,
    StagingRequest,
)
from fake_controller.buildpacks import taking_part
from fake_controller.controller import Controller, Upload
from fake_controller.model import App, Build, Buildpack, Droplet, Process
from fake_controller.running import desired, vcap_application
from fake_controller.services.bound import bound_services
from fake_controller.store import Tx
from fake_controller.surroundings import as_lines, staging_variables

NO_STAGER = "no-stager"
NO_ANSWER = "staging-timed-out"


async def stage(cc: Controller, build: Build, app: App) -> None:
    """Turn the package of *build* into a stored droplet; *build* says how it ended."""
    kit = cc.kit
    kit.trace.event("push.started", app=app.guid, name=app.name, build=build.guid)
    cc.log(app.guid, f"Creating build for app with guid {app.guid}")

    upload = Upload(app_guid=app.guid, build_guid=build.guid)
    upload_id = kit.ids.hex()
    cc.uploads[upload_id] = upload
    request = await cc.store.read(lambda tx: staging_request(tx, cc, build, app, upload_id))
    try:
        reply = await kit.request(request, StagingReply, timeout=cc.config.staging_timeout)
    except NoResponders:
        await _failed(
            cc, build, "No stager is there to take the app.", code=NO_STAGER, exit_code=20
        )
        return
    except RequestTimeout:
        why = f"The stager did not answer within {cc.config.staging_timeout:.0f} s."
        await _failed(cc, build, why, code=NO_ANSWER, exit_code=27)
        return
    finally:
        # One shot: a droplet that comes later belongs to nobody.
        del cc.uploads[upload_id]

    if reply.error is None and not upload.stored.is_set():
        reply_error = "The stager reports success, but no droplet arrived."
        await _failed(cc, build, reply_error, code="droplet-missing", exit_code=26, reply=reply)
    elif reply.error is not None:
        why = reply.error.replace(":\n ", ": ")
        await _failed(cc, build, why, code=reply.error_code, reply=reply)
    else:
        await _staged(cc, build, upload, reply)
        kit.trace.event("push.staged", app=app.guid, build=build.guid)


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


async def store(cc: Controller, upload: Upload, droplet: Spooled) -> None:
    """Hand a stager's droplet to an archiver; returns when that has it on disk.

    Raises as `archive`.
    """
    await archive(cc, upload.app_guid, droplet)
    upload.sha1, upload.sha256, upload.size = droplet.sha1, droplet.sha256, droplet.size
    upload.stored.set()


async def archive(cc: Controller, app_guid: str, droplet: Spooled) -> None:
    """Hand a droplet to an archiver; returns when that has it on disk.

    Raises:
      ApplianceError: no archiver took it; the first one's own reason.
    """
    problem: ApplianceError | None = None
    for base in cc.config.archivers:
        url = f"{base}/droplets/{app_guid}/{droplet.sha1}"
        try:
            answer = await cc.kit.http.upload("POST", url, droplet.path)
            if answer.status == 200:
                return
            problem = problem or ApplianceError(
                f"The archiver refused the droplet ({answer.status}): {answer.body.decode()[:300]}"
            )
        except ApplianceError as error:
            problem = problem or error
    raise problem or ApplianceError("No archiver is configured.")


async def _staged(cc: Controller, build: Build, upload: Upload, reply: StagingReply) -> None:
    def work(tx: Tx) -> None:
        droplet = tx.new(
            Droplet,
            app_guid=build.app_guid,
            package_guid=build.package_guid,
            state="STAGED",
            sha1=upload.sha1,
            sha256=upload.sha256,
            size=upload.size,
            process_types=reply.process_types or {"web": ""},
            detected=reply.detected,
            buildpacks=tuple(asdict(one) for one in reply.buildpacks or ()),
            sidecars=tuple(asdict(one) for one in reply.sidecars or ()),
            execution_metadata=reply.execution_metadata or "",
            stack=build.stack,
        )
        tx.change(
            tx.need(Build, build.guid),
            state="STAGED",
            droplet_guid=droplet.guid,
            task_log=reply.task_log,
            staging={"sandbox": reply.sandbox, "phases": reply.phases or {}},
        )

    await cc.store.write(work)
    cc.build_changed()


async def _failed(
    cc: Controller,
    build: Build,
    why: str,
    *,
    code: str | None,
    exit_code: int | None = None,
    reply: StagingReply | None = None,
) -> None:
    phase = reply.phase if reply else None
    failure = {
        "phase": phase or "staging",
        "why": why,
        "code": code or "staging-failed",
        "hint": (reply.hint if reply else None) or "",
        "exit_code": (reply.exit_code if reply else None) or exit_code or 20,
    }
    cc.kit.trace.event("push.failed", app=build.app_guid, build=build.guid, why=why)
    # Clients know the names before the dash; what exactly is wrong is in the log, and in *why*.
    error = reply.cloud_error if reply else None
    if code == NO_ANSWER:
        error = f"StagingTimeExpired - Staging time expired: {why}"
    await cc.store.write(
        lambda tx: tx.change(
            tx.need(Build, build.guid),
            state="FAILED",
            error=error or f"StagingError - Staging error: {why}",
            failure=failure,
            task_log=reply.task_log if reply else "",
            staging={"sandbox": reply.sandbox, "phases": reply.phases or {}} if reply else None,
        )
    )
    cc.build_changed()


def _with_login(cc: Controller, path: str) -> str:
    """*path* here, with the stagers' credentials in the URL, as in 2012."""
    parts = urlsplit(cc.url)
    user = cc.config.staging_user
    login = f"{quote(user, safe='')}:{quote(cc.secrets[user], safe='')}@{parts.netloc}"
    return urlunsplit((parts.scheme, login, "", "", "")) + str(pathlib.PurePosixPath(path))
