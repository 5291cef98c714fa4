"""The job of a manifest: one app after the other, and what runs is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fake_controller.controller import Controller
from fake_controller.errors import draining
from fake_controller.manifest.apply import apply_manifest, told_of
from fake_controller.manifest.binding import told_of_service
from fake_controller.manifest.payload import AppManifest
from fake_controller.model import App
from fake_controller.running import Runner
from fake_controller.services.operator import Suspended
from fake_controller.tokens import Identity


async def apply_all(
    cc: Controller,
    runner: Runner,
    identity: Identity,
    apps: Sequence[App],
    manifests: Sequence[AppManifest],
) -> None:
    """Give each of *apps* what its manifest asks for; the first error is the last.

    Raises:
      CloudError: what went wrong, and with which app.
    """
    for app, manifest in zip(apps, manifests, strict=True):
        apply = partial(apply_manifest, app_guid=app.guid, manifest=manifest, config=cc.config)
        applied = await cc.write_as(identity, apply)
        cc.log(app.guid, f"Updated app with guid {app.guid}")
        for process in applied.scaled:
            runner.converge(process)
        if applied.routed:
            await runner.update_routes(app.guid)
        for service, begun in applied.bound:
            cc.operator.begin(begun.leftovers)
            if begun.errand is None:
                continue
            with told_of(manifest), told_of_service(service):
                try:
                    await cc.operator.perform(begun.errand)
                except Suspended:
                    # The binding is taken up at the next start; this job is not.
                    raise draining() from None
