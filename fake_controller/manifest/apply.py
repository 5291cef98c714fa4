"""A checked manifest becomes records: each app in a transaction of its own.

Nothing that a manifest leaves out is taken away. What runs is told of new routes and other
numbers of instances at once; everything else counts from the next start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from msgspec import structs

from appliance.config import ControllerConfig
from fake_controller.access import changed_in_space
from fake_controller.acting import Acting
from fake_controller.apps import create_app
from fake_controller.buildpacks import check_lifecycle
from fake_controller.consumption import check_process
from fake_controller.errors import CloudError, deployment_in_progress, unprocessable
from fake_controller.events import HIDDEN
from fake_controller.features import exclude_each_other
from fake_controller.manifest.binding import bind_services
from fake_controller.manifest.generate import written
from fake_controller.manifest.mapping import apply_routes
from fake_controller.manifest.payload import AppManifest, ProcessManifest
from fake_controller.model import App, Deployment, Process, Sidecar, Space
from fake_controller.processes import new_process
from fake_controller.services.binding import Begun
from fake_controller.sidecars import change_sidecar, check_memory, create_sidecar


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What has to be told to what runs."""

    scaled: tuple[str, ...]  # processes
    routed: bool
    bound: tuple[tuple[str, Begun], ...]  # by the name of the service


def create_missing(
    acting: Acting, space: Space, manifests: Sequence[AppManifest], config: ControllerConfig
) -> tuple[list[App], list[App]]:
    """The apps of *manifests*, in their order, and those of them that are made here."""
    apps, new = [], []
    for manifest in manifests:
        app = acting.tx.first(App, space_guid=space.guid, name=manifest.name)
        if app is None:
            with told_of(manifest):
                app = create_app(
                    acting,
                    space,
                    config,
                    name=manifest.name,
                    buildpacks=manifest.buildpacks or (),
                    stack=manifest.stack,
                )
            new.append(app)
        submitted = manifest.submitted
        hidden = {"env": HIDDEN} if "env" in submitted else {}
        # As text: YAML has numbers and keys that JSON has not.
        request = {"manifest": written([submitted | hidden])}
        acting.audit("audit.app.apply_manifest", app, {"request": request})
        apps.append(app)
    return apps, new


def apply_manifest(
    acting: Acting, app_guid: str, manifest: AppManifest, config: ControllerConfig
) -> Applied:
    """Give one app what *manifest* asks for.

    Raises:
      CloudError: whatever goes wrong, beginning with "For application 'NAME': ".
    """
    with told_of(manifest):
        app = acting.change(App, app_guid)
        features = app.features | manifest.features
        if wrong := exclude_each_other(features):
            raise unprocessable(wrong)
        if features != app.features:
            app = acting.tx.change(app, features=features)
        scaled = [
            process
            for one in manifest.processes
            if (process := _apply_process(acting, app, one, config)) is not None
        ]
        _apply_sidecars(acting, app, manifest)
        app = _apply_app(acting, app, manifest)
        routed = apply_routes(acting, app, manifest)
        bound = bind_services(acting, app, manifest.services)
    return Applied(scaled=tuple(scaled), routed=routed, bound=tuple(bound))


@contextmanager
def told_of(manifest: AppManifest) -> Iterator[None]:
    """Every error in here says which app of the manifest it is about."""
    try:
        yield
    except CloudError as error:
        detail = f"For application '{manifest.name}': {error}"
        raise CloudError(error.http, error.number, error.title, detail) from error


def _apply_process(
    acting: Acting, app: App, wanted: ProcessManifest, config: ControllerConfig
) -> str | None:
    """Change or make one process; its guid, if it is to run another number of instances."""
    tx = acting.tx
    process = tx.latest(Process, app_guid=app.guid, type=wanted.type)
    if process is None:
        process = new_process(tx, app, wanted.type, config, acting.actor)
    if not wanted.changes and not wanted.scale:
        return None
    deploying = wanted.type == "web" and tx.first(
        Deployment, app_guid=app.guid, status_value="ACTIVE"
    )
    if wanted.changes:
        if deploying:
            raise unprocessable("Cannot update this process while a deployment is in flight.")
        process = tx.change(process, **wanted.changes)
        request = wanted.changes | ({"command": HIDDEN} if "command" in wanted.changes else {})
        acting.audit("audit.app.process.update", app, _about(process) | {"request": request})
    if not wanted.scale:
        return None
    if deploying:
        raise deployment_in_progress("scale")
    before = process.instances
    check_memory(tx, process, wanted.scale.get("memory_in_mb", process.memory_in_mb))
    process = tx.change(process, **wanted.scale)
    check_process(tx, process)
    acting.audit("audit.app.process.scale", app, _about(process) | {"request": wanted.scale})
    return process.guid if process.instances != before else None


def _about(process: Process) -> dict[str, object]:
    named = {"process_guid": process.guid, "process_type": process.type}
    return named | {"manifest_triggered": True}


def _apply_sidecars(acting: Acting, app: App, manifest: AppManifest) -> None:
    tx = acting.tx
    for wanted in manifest.sidecars:
        there = tx.first(Sidecar, app_guid=app.guid, name=wanted.name)
        if there is None:
            create_sidecar(
                tx,
                app,
                name=wanted.name,
                command=wanted.command,
                process_types=wanted.process_types,
                memory_in_mb=wanted.memory_in_mb,
            )
        else:
            memory = wanted.memory_in_mb
            change_sidecar(
                tx,
                there,
                command=wanted.command,
                process_types=wanted.process_types,
                memory_in_mb=there.memory_in_mb if memory is None else memory,
            )


def _apply_app(acting: Acting, app: App, manifest: AppManifest) -> App:
    wanted = structs.replace(
        app,
        buildpacks=app.buildpacks if manifest.buildpacks is None else manifest.buildpacks,
        stack=manifest.stack or app.stack,
        environment=app.environment | manifest.environment,
        labels=_over(app.labels, manifest.labels),
        annotations=_over(app.annotations, manifest.annotations),
    )
    if wanted == app:
        return app
    if (wanted.buildpacks, wanted.stack) != (app.buildpacks, app.stack):
        check_lifecycle(acting.tx, wanted.buildpacks, wanted.stack)
    about = {"manifest_triggered": True, "request": {"name": app.name}}
    acting.audit("audit.app.update", app, about)
    return acting.tx.change(
        app,
        buildpacks=wanted.buildpacks,
        stack=wanted.stack,
        environment=wanted.environment,
        labels=wanted.labels,
        annotations=wanted.annotations,
    )


def _over(have: dict[str, str], given: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in (have | given).items() if value is not None}


def space_for(acting: Acting, guid: str) -> Space:
    """The space whose apps *acting* may push; raises 404 when it is not seen, 403 else."""
    return acting.change(Space, guid, rule=changed_in_space("guid"))
