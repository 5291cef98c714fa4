"""How a build has ended, in its record, its droplet and the audit events."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import asdict

from appliance.stager.messages import StagingReply
from fake_controller.controller import Upload
from fake_controller.events import Actor, record_event
from fake_controller.model import App, Build, Droplet
from fake_controller.store import Tx


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why there is no droplet."""

    why: str
    code: str | None  # of the stager's errors, or ours
    exit_code: int | None = None
    cloud_error: str | None = None  # what clients are shown; "NoAppDetectedError - …"


def note_staged(tx: Tx, build: Build, upload: Upload, reply: StagingReply) -> bool:
    """Make the droplet; False when the app was deleted meanwhile, and its build with it."""
    record = tx.get(Build, build.guid)
    if record is None:
        return False
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
        record,
        state="STAGED",
        droplet_guid=droplet.guid,
        task_log=reply.task_log,
        staging={"sandbox": reply.sandbox, "phases": reply.phases or {}},
    )
    about = {"package_guid": build.package_guid, "droplet_guid": droplet.guid}
    _audit(tx, build, "audit.app.droplet.create", about)
    _audit(tx, build, "audit.app.build.staged", about | {"build_guid": build.guid})
    return True


def note_failed(tx: Tx, build: Build, failure: Failure, reply: StagingReply | None) -> None:
    """Write down why; nothing when the app was deleted meanwhile."""
    record = tx.get(Build, build.guid)
    if record is None:
        return
    # Clients know the names before the dash; what exactly is wrong is in *why*, and in the log.
    error = failure.cloud_error or f"StagingError - Staging error: {failure.why}"
    tx.change(
        record,
        state="FAILED",
        error=error,
        failure={
            "phase": (reply.phase if reply else None) or "staging",
            "why": failure.why,
            "code": failure.code or "staging-failed",
            "hint": (reply.hint if reply else None) or "",
            "exit_code": (reply.exit_code if reply else None) or failure.exit_code or 20,
        },
        task_log=reply.task_log if reply else "",
        staging={"sandbox": reply.sandbox, "phases": reply.phases or {}} if reply else None,
    )
    name, _, message = error.partition(" - ")
    about = {"build_guid": build.guid, "package_guid": build.package_guid}
    told = {"error_id": name, "error_message": message}
    _audit(tx, build, "audit.app.build.failed", about | told)


def _audit(tx: Tx, build: Build, type_: str, data: dict[str, str]) -> None:
    """Note what became of *build*, in the name of whoever has begun it."""
    actor = Actor(guid=build.created_by.get("guid", ""), name=build.created_by.get("name", ""))
    record_event(tx, type_, actor, tx.need(App, build.app_guid), data)
