"""Which processes an app has: one for each type that its droplet names."""

from __future__ import annotations

from appliance.config import ControllerConfig
from fake_controller.events import Actor, record_event
from fake_controller.model import App, Droplet, Process
from fake_controller.store import Tx


def new_process(tx: Tx, app: App, type_: str, config: ControllerConfig, actor: Actor) -> Process:
    """A process of *type_*, by *actor*; web's has the app's own guid and one instance."""
    process = tx.new(
        Process,
        guid=app.guid if type_ == "web" and tx.get(Process, app.guid) is None else "",
        app_guid=app.guid,
        type=type_,
        instances=1 if type_ == "web" else 0,
        memory_in_mb=config.default_memory,
        disk_in_mb=config.default_disk,
        health_check_type="port" if type_ == "web" else "process",
    )
    about = {"process_guid": process.guid, "process_type": type_}
    record_event(tx, "audit.app.process.create", actor, app, about)
    return process


def processes_for(
    tx: Tx, app: App, droplet: Droplet | None, config: ControllerConfig, actor: Actor
) -> list[Process]:
    """All processes of *app*, after *actor* has made those that only *droplet* has."""
    have = {process.type for process in tx.find(Process, app_guid=app.guid)}
    for type_ in droplet.process_types if droplet else ():
        if type_ not in have:
            new_process(tx, app, type_, config, actor)
    return tx.find(Process, app_guid=app.guid)
