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

from appliance.kernel.bus import NoResponders, RequestTimeout
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.blob_plane import Spooled
from appliance.stager.messages import StagingReply
from fake_controller import deleting
from fake_controller.asking import StagerLost, ask_stager
from fake_controller.builds import Failure, note_failed, note_staged
from fake_controller.controller import Controller, Upload
from fake_controller.model import App, Build
from fake_controller.staging_request import staging_request

NO_STAGER = "no-stager"
NO_ANSWER = "staging-timed-out"
TRIES = 3  # stagers that are asked, when one after the other is lost


async def stage(cc: Controller, build: Build, app: App) -> None:
    """Turn the package of *build* into a stored droplet; *build* says how it ended."""
    kit = cc.kit
    kit.trace.event("push.started", app=app.guid, name=app.name, build=build.guid)
    cc.log(app.guid, f"Creating build for app with guid {app.guid}")

    try:
        upload, reply = await _asked(cc, build, app)
    except NoResponders:
        why = "No stager is there to take the app."
        await _failed(cc, build, Failure(why=why, code=NO_STAGER, exit_code=20))
        return
    except RequestTimeout:
        why = f"The stager did not answer within {cc.config.staging_timeout:.0f} s."
        told = f"StagingTimeExpired - Staging time expired: {why}"
        failure = Failure(why=why, code=NO_ANSWER, exit_code=27, cloud_error=told)
        await _failed(cc, build, failure)
        return
    except StagerLost as error:
        await _failed(cc, build, Failure(why=str(error), code=error.code, exit_code=27))
        return

    if reply.error is None and not upload.stored.is_set():
        why = "The stager reports success, but no droplet arrived."
        await _failed(cc, build, Failure(why=why, code="droplet-missing", exit_code=26), reply)
    elif reply.error is not None:
        why = reply.error.replace(":\n ", ": ")
        failure = Failure(why=why, code=reply.error_code, cloud_error=reply.cloud_error)
        await _failed(cc, build, failure, reply)
    elif await cc.store.write(lambda tx: note_staged(tx, build, upload, reply)):
        kit.trace.event("push.staged", app=app.guid, build=build.guid)
    else:
        await deleting.forget_droplet(cc, app.guid, upload.sha1)
    cc.build_changed()


async def _asked(cc: Controller, build: Build, app: App) -> tuple[Upload, StagingReply]:
    """What a stager made of it; when one is lost meanwhile, another one is asked."""
    for _ in range(TRIES - 1):
        try:
            return await _ask_one(cc, build, app)
        except StagerLost as error:
            cc.kit.trace.event("stager.lost", app=app.guid, build=build.guid)
            cc.log(app.guid, f"{error} Asking another one.")
    return await _ask_one(cc, build, app)


async def _ask_one(cc: Controller, build: Build, app: App) -> tuple[Upload, StagingReply]:
    upload = Upload(app_guid=app.guid, build_guid=build.guid)
    upload_id = cc.kit.ids.hex()
    cc.uploads[upload_id] = upload
    request = await cc.store.read(lambda tx: staging_request(tx, cc, build, app, upload_id))
    try:
        reply = await ask_stager(cc.kit, request, timeout=cc.config.staging_timeout)
    finally:
        # One shot: a droplet that comes later belongs to nobody.
        del cc.uploads[upload_id]
    return upload, reply


async def _failed(
    cc: Controller, build: Build, failure: Failure, reply: StagingReply | None = None
) -> None:
    cc.kit.trace.event("push.failed", app=build.app_guid, build=build.guid, why=failure.why)
    await cc.store.write(lambda tx: note_failed(tx, build, failure, reply))
    cc.build_changed()


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
