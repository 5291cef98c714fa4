"""A deployment: a second web process grows while the first shrinks, and replaces it."""

from __future__ import annotations

from dataclasses import dataclass

from fake_controller.controller import Controller
from fake_controller.errors import missing, unprocessable
from fake_controller.model import App, Deployment, Droplet, Process
from fake_controller.processes import processes_for
from fake_controller.running import Runner
from fake_controller.store import Tx


@dataclass
class Deployer:
    """Carries deployments out, each in a background task that survives a restart."""

    cc: Controller
    runner: Runner

    async def create(
        self, app_guid: str, droplet_guid: str | None, max_in_flight: int
    ) -> Deployment:
        """Begin to roll *app_guid* to *droplet_guid* (or to a new start of the current one)."""

        def work(tx: Tx) -> tuple[Deployment, Deployment | None]:
            app = tx.need(App, app_guid)
            droplet = tx.get(Droplet, droplet_guid or app.droplet_guid)
            if droplet is None or droplet.state != "STAGED" or droplet.app_guid != app.guid:
                raise unprocessable(
                    "Unable to assign current droplet. Ensure the droplet exists and belongs to "
                    "this app."
                )
            superseded = tx.first(Deployment, app_guid=app.guid, status_value="ACTIVE")
            if superseded:
                self._end(tx, superseded, "SUPERSEDED")
            old = web_process(tx, app.guid)
            if app.state != "STARTED":
                return self._just_start(tx, app, droplet, old), None
            new = tx.new(
                Process,
                **{name: getattr(old, name) for name in COPIED},
                instances=0,
                droplet_guid=droplet.guid,
                run_count=old.run_count + 1,
            )
            # While both run, the old one keeps its droplet even though the app's changes.
            tx.change(old, droplet_guid=old.droplet_guid or app.droplet_guid)
            deployment = tx.new(
                Deployment,
                app_guid=app.guid,
                droplet_guid=droplet.guid,
                previous_droplet_guid=app.droplet_guid,
                old_process_guid=old.guid,
                new_process_guid=new.guid,
                instances=old.instances,
                status_changed_at=tx.clock.time(),
                max_in_flight=max_in_flight,
            )
            return deployment, superseded

        deployment, superseded = await self.cc.store.write(work)
        self.cc.log(app_guid, f"Creating deployment for app with guid {app_guid}")
        if superseded:
            self.runner.converge(superseded.new_process_guid)
        self.resume(deployment)
        return deployment

    def resume(self, deployment: Deployment) -> None:
        """Go on with *deployment* in the background."""
        if deployment.status_value == "ACTIVE":
            self.cc.background.start_soon(self._roll, deployment.guid)
        else:
            self.runner.converge(deployment.new_process_guid)

    async def cancel(self, guid: str) -> None:
        """Go back to the previous droplet."""

        def work(tx: Tx) -> Deployment:
            deployment = tx.need(Deployment, guid)
            if deployment.status_value != "ACTIVE":
                raise unprocessable("Cannot cancel a deployment that is not active.")
            return self._end(tx, deployment, "CANCELED")

        deployment = await self.cc.store.write(work)
        self._settle(deployment)

    async def _roll(self, guid: str) -> None:
        while True:
            changed = self.cc.actual.changed
            step = await self.cc.store.write(lambda tx: self._step(tx, guid))
            if step is None:
                return
            deployment, moved = step
            self._settle(deployment)
            if deployment.status_value == "FINALIZED":
                await self.runner.update_routes(deployment.app_guid)
                return
            if not moved:
                await changed.wait()

    def _step(self, tx: Tx, guid: str) -> tuple[Deployment, bool] | None:
        """Grow the new process by what is in flight, shrink the old one by what runs."""
        deployment = tx.get(Deployment, guid)
        if deployment is None or deployment.status_value != "ACTIVE":
            return None
        new = tx.need(Process, deployment.new_process_guid)
        old = tx.need(Process, deployment.old_process_guid)
        running = sum(i.state == "RUNNING" for i in self.cc.actual.of(new.guid))
        if running >= deployment.instances:
            return self._succeed(tx, deployment, new, old), True
        grown = min(deployment.instances, running + deployment.max_in_flight)
        shrunk = max(0, deployment.instances - running)
        moved = grown > new.instances or shrunk < old.instances
        if moved:
            tx.change(new, instances=max(grown, new.instances))
            tx.change(old, instances=shrunk)
        return deployment, moved

    def _succeed(self, tx: Tx, deployment: Deployment, new: Process, old: Process) -> Deployment:
        app = tx.change(tx.need(App, deployment.app_guid), droplet_guid=deployment.droplet_guid)
        tx.delete(old)
        tx.change(new, instances=deployment.instances, droplet_guid=None)
        droplet = tx.need(Droplet, deployment.droplet_guid)
        for process in processes_for(tx, app, droplet, self.cc.config):
            if process.type != "web":
                tx.change(process, run_count=process.run_count + 1)
        return self._finalize(tx, deployment, "DEPLOYED")

    def _end(self, tx: Tx, deployment: Deployment, reason: str) -> Deployment:
        """Undo what was begun: the old process is as before, the new one is gone."""
        if new := tx.get(Process, deployment.new_process_guid):
            tx.delete(new)
        if old := tx.get(Process, deployment.old_process_guid):
            tx.change(old, instances=deployment.instances, droplet_guid=None)
        return self._finalize(tx, deployment, reason)

    def _finalize(self, tx: Tx, deployment: Deployment, reason: str) -> Deployment:
        return tx.change(
            deployment,
            status_value="FINALIZED",
            status_reason=reason,
            status_changed_at=tx.clock.time(),
        )

    def _just_start(self, tx: Tx, app: App, droplet: Droplet, web: Process) -> Deployment:
        """A stopped app has nothing to roll over: it starts with the new droplet."""
        previous = app.droplet_guid
        app = tx.change(app, droplet_guid=droplet.guid, state="STARTED")
        for process in processes_for(tx, app, droplet, self.cc.config):
            tx.change(process, run_count=process.run_count + 1)
        return tx.new(
            Deployment,
            app_guid=app.guid,
            droplet_guid=droplet.guid,
            previous_droplet_guid=previous,
            old_process_guid=web.guid,
            new_process_guid=web.guid,
            instances=web.instances,
            status_value="FINALIZED",
            status_reason="DEPLOYED",
            status_changed_at=tx.clock.time(),
        )

    def _settle(self, deployment: Deployment) -> None:
        self.runner.converge(deployment.new_process_guid)
        self.runner.converge(deployment.old_process_guid)
        self.cc.build_changed()


COPIED = (
    "app_guid", "type", "command", "memory_in_mb", "disk_in_mb", "log_rate",
    "health_check_type", "health_check_timeout", "health_check_invocation_timeout",
    "health_check_interval", "health_check_endpoint", "readiness_type", "readiness_endpoint",
    "readiness_invocation_timeout", "readiness_interval",
)  # fmt: skip


def web_process(tx: Tx, app_guid: str) -> Process:
    """The newest web process of an app."""
    found = tx.find(Process, app_guid=app_guid, type="web", order_by="-created_at", limit=1)
    if not found:
        raise missing("Process")
    return found[0]
