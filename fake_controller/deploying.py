"""A deployment: a second web process grows while the first shrinks, and replaces it.

`rollout` decides how far to go; here that is carried out, step by step, as instances run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fake_controller.controller import Controller
from fake_controller.errors import CloudError, missing, unprocessable
from fake_controller.events import BY_ITSELF
from fake_controller.model import App, Deployment, Droplet, Process, Revision
from fake_controller.processes import processes_for
from fake_controller.revisions import revise, roll_back
from fake_controller.rollout import Stage, canary_stages, next_step
from fake_controller.running import Runner
from fake_controller.sidecars import adopt_sidecars
from fake_controller.store import Tx


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What somebody asks a deployment to do."""

    app_guid: str
    droplet_guid: str | None = None  # None: the current one, started anew
    revision_guid: str | None = None  # instead of a droplet: back to what was
    strategy: str = "rolling"
    max_in_flight: int = 1
    weights: tuple[int, ...] = ()
    instances: int | None = None
    #: Fields of the new process, where they are to be others: memory_in_mb, disk_in_mb, log_rate.
    limits: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Deployer:
    """Carries deployments out, each in a background task that survives a restart."""

    cc: Controller
    runner: Runner

    def create(self, tx: Tx, wanted: Wanted) -> Deployment:
        """A new deployment, in the caller's transaction; `begin` sets it going afterwards."""
        app = tx.need(App, wanted.app_guid)
        app, droplet, revision = self._target(tx, app, wanted)
        superseded = tx.first(Deployment, app_guid=app.guid, status_value="ACTIVE")
        if superseded:
            self._end(tx, superseded, "SUPERSEDED")
        adopt_sidecars(tx, app, droplet)
        old = web_process(tx, app.guid)
        if app.state != "STARTED":
            return self._just_start(tx, app, droplet, old, revision, wanted)
        command = revision.commands.get("web") if revision else old.command
        new = tx.new(
            Process,
            **{name: getattr(old, name) for name in COPIED}
            | dict(wanted.limits)
            | {"command": command, "revision_guid": revision.guid if revision else None},
            instances=0,
            droplet_guid=droplet.guid,
            run_count=old.run_count + 1,
        )
        # While both run, the old one keeps its droplet even though the app's changes.
        tx.change(old, droplet_guid=old.droplet_guid or app.droplet_guid)
        canary = wanted.strategy == "canary"
        return tx.new(
            Deployment,
            **_shared(app, droplet, revision, wanted),
            old_process_guid=old.guid,
            new_process_guid=new.guid,
            original=old.instances,
            instances=old.instances if wanted.instances is None else wanted.instances,
            status_changed_at=tx.clock.time(),
            canary_weights=wanted.weights,
            canary_steps=len(canary_stages(old.instances, wanted.weights)) if canary else 0,
        )

    def begin(self, deployment: Deployment) -> None:
        """Go on with *deployment* in the background."""
        if deployment.status_value == "ACTIVE":
            self.cc.background.start_soon(self._roll, deployment.guid)
        else:
            for process in (deployment.new_process_guid, deployment.old_process_guid):
                self.runner.converge(process)

    def cancel(self, tx: Tx, guid: str) -> Deployment:
        """Go back to the previous droplet: its instances come back before the new ones go."""
        deployment = tx.need(Deployment, guid)
        if deployment.status_value != "ACTIVE":
            raise _cannot("cancel", deployment)
        if old := tx.get(Process, deployment.old_process_guid):
            tx.change(old, instances=deployment.original)
        return self._told(tx, deployment, "CANCELING")

    def go_on(self, tx: Tx, guid: str) -> Deployment:
        """Let a paused canary go to its next step, or, after its last, to the end."""
        deployment = tx.need(Deployment, guid)
        if deployment.status_reason != "PAUSED":
            raise _cannot("continue", deployment)
        step = deployment.canary_step + 1
        return self._told(tx, deployment, "DEPLOYING", canary_step=step)

    def settle(self, deployment: Deployment) -> None:
        """What changed of *deployment* has been committed: act on it."""
        self.runner.converge(deployment.new_process_guid)
        self.runner.converge(deployment.old_process_guid)
        self.cc.build_changed()
        self.cc.actual.wake()

    async def _roll(self, guid: str) -> None:
        while True:
            changed = self.cc.actual.changed
            step = await self.cc.store.write(lambda tx: self._step(tx, guid))
            if step is None:
                return
            deployment, moved = step
            if moved:
                self.settle(deployment)
            if deployment.status_value == "FINALIZED":
                await self.runner.update_routes(deployment.app_guid)
                return
            if not moved:
                await changed.wait()

    def _step(self, tx: Tx, guid: str) -> tuple[Deployment, bool] | None:
        """Move as far as what runs now allows; the deployment, and whether it moved."""
        deployment = tx.get(Deployment, guid)
        if deployment is None or deployment.status_value != "ACTIVE":
            return None
        new = tx.need(Process, deployment.new_process_guid)
        old = tx.need(Process, deployment.old_process_guid)
        if deployment.status_reason == "CANCELING":
            back = self._running(old.guid) >= deployment.original
            return (self._end(tx, deployment, "CANCELED"), True) if back else (deployment, False)
        if deployment.status_reason == "PAUSED":
            return deployment, False
        stage = _stage(deployment)
        step = next_step(
            stage,
            original=deployment.original,
            running=self._running(new.guid),
            new=new.instances,
            old=old.instances,
            in_flight=deployment.max_in_flight,
        )
        if step.reached and deployment.canary_step > deployment.canary_steps:
            return self._succeed(tx, deployment, new, old), True
        moved = (step.new, step.old) != (new.instances, old.instances)
        if moved:
            tx.change(new, instances=step.new)
            tx.change(old, instances=step.old)
        if step.reached:
            return self._told(tx, deployment, "PAUSED"), True
        return deployment, moved

    def _running(self, process: str) -> int:
        return sum(i.routable for i in self.cc.actual.of(process))

    def _target(self, tx: Tx, app: App, wanted: Wanted) -> tuple[App, Droplet, Revision | None]:
        """What the app is to become: with it its environment, when it goes back."""
        if wanted.revision_guid:
            target = tx.get(Revision, wanted.revision_guid)
            if target is None or target.app_guid != app.guid:
                raise unprocessable("The revision does not exist")
            revision = roll_back(tx, app, target)
            app = tx.change(app, environment=target.environment)
            return app, tx.need(Droplet, target.droplet_guid), revision
        droplet = tx.get(Droplet, wanted.droplet_guid or app.droplet_guid)
        if droplet is None or droplet.state != "STAGED" or droplet.app_guid != app.guid:
            raise unprocessable(
                "Unable to assign current droplet. Ensure the droplet exists and belongs to this "
                "app."
            )
        return app, droplet, revise(tx, app, droplet)

    def _succeed(self, tx: Tx, deployment: Deployment, new: Process, old: Process) -> Deployment:
        app = tx.change(tx.need(App, deployment.app_guid), droplet_guid=deployment.droplet_guid)
        tx.delete(old)
        tx.change(new, instances=deployment.instances, droplet_guid=None)
        droplet = tx.need(Droplet, deployment.droplet_guid)
        for process in processes_for(tx, app, droplet, self.cc.config, BY_ITSELF):
            if process.type != "web":
                again = {"run_count": process.run_count + 1}
                tx.change(process, **again, revision_guid=deployment.revision_guid)
        return self._told(tx, deployment, "DEPLOYED", status_value="FINALIZED")

    def _end(self, tx: Tx, deployment: Deployment, reason: str) -> Deployment:
        """Undo what was begun: the old process is as before, the new one is gone."""
        if new := tx.get(Process, deployment.new_process_guid):
            tx.delete(new)
        if old := tx.get(Process, deployment.old_process_guid):
            tx.change(old, instances=deployment.original, droplet_guid=None)
        if app := tx.get(App, deployment.app_guid):
            adopt_sidecars(tx, app, tx.get(Droplet, app.droplet_guid))
        return self._told(tx, deployment, reason, status_value="FINALIZED")

    def _told(self, tx: Tx, deployment: Deployment, reason: str, **values: int | str) -> Deployment:
        now = tx.clock.time()
        return tx.change(deployment, status_reason=reason, status_changed_at=now, **values)

    def _just_start(
        self,
        tx: Tx,
        app: App,
        droplet: Droplet,
        web: Process,
        revision: Revision | None,
        wanted: Wanted,
    ) -> Deployment:
        """A stopped app has nothing to roll over: it starts with the new droplet."""
        shared = _shared(app, droplet, revision, wanted)
        scaled = {} if wanted.instances is None else {"instances": wanted.instances}
        command = {"command": revision.commands.get("web")} if revision else {}
        web = tx.change(web, **dict(wanted.limits), **scaled, **command)
        app = tx.change(app, droplet_guid=droplet.guid, state="STARTED")
        for process in processes_for(tx, app, droplet, self.cc.config, BY_ITSELF):
            again = {"run_count": process.run_count + 1}
            tx.change(process, **again, revision_guid=revision.guid if revision else None)
        return tx.new(
            Deployment,
            **shared,
            old_process_guid=web.guid,
            new_process_guid=web.guid,
            original=web.instances,
            instances=web.instances,
            status_value="FINALIZED",
            status_reason="DEPLOYED",
            status_changed_at=tx.clock.time(),
        )


def _cannot(verb: str, deployment: Deployment) -> CloudError:
    status = f"status: {deployment.status_value} and reason: {deployment.status_reason}"
    return unprocessable(f"Cannot {verb} a deployment with {status}")


def _stage(deployment: Deployment) -> Stage:
    """What the deployment is on its way to: a canary's step, or the end."""
    if deployment.canary_step <= deployment.canary_steps:
        stages = canary_stages(deployment.original, deployment.canary_weights)
        return stages[deployment.canary_step - 1]
    return Stage(new=deployment.instances, old=0)


def _shared(
    app: App, droplet: Droplet, revision: Revision | None, wanted: Wanted
) -> dict[str, Any]:
    options = dict(wanted.limits)
    if wanted.instances is not None:
        options["instances"] = wanted.instances
    return {
        "app_guid": app.guid,
        "droplet_guid": droplet.guid,
        "previous_droplet_guid": app.droplet_guid,
        "strategy": wanted.strategy,
        "max_in_flight": wanted.max_in_flight,
        "options": options,
        "revision_guid": revision.guid if revision else None,
        "revision_version": revision.version if revision else None,
        **wanted.labels,
    }


COPIED = (
    "app_guid", "type", "command", "memory_in_mb", "disk_in_mb", "log_rate",
    "health_check_type", "health_check_timeout", "health_check_invocation_timeout",
    "health_check_interval", "health_check_endpoint", "readiness_type", "readiness_endpoint",
    "readiness_invocation_timeout", "readiness_interval", "labels", "annotations",
)  # fmt: skip


def web_process(tx: Tx, app_guid: str) -> Process:
    """The newest web process of an app."""
    process = tx.latest(Process, app_guid=app_guid, type="web")
    if process is None:
        raise missing("Process")
    return process
