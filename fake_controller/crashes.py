"""What a crash leaves behind for those who look later: an event, and a line in the log."""

from __future__ import annotations

from typing import Any

from appliance.dea.messages import DropletExited
from fake_controller.controller import Controller
from fake_controller.events import Actor, record_event
from fake_controller.model import App, Process
from fake_controller.store import Tx


async def note_crash(cc: Controller, exit_: DropletExited) -> None:
    """Record ``app.crash`` and ``audit.app.process.crash``, and tell the app's log."""

    count = cc.actual.crashes.get((str(exit_.droplet), exit_.index), 1)
    data = crash_data(exit_, count)

    def work(tx: Tx) -> Process | None:
        process = tx.get(Process, str(exit_.droplet))
        app = tx.get(App, process.app_guid) if process else None
        if process is None or app is None:
            return None
        actor = Actor(guid=process.guid, name=process.type, type="process")
        record_event(tx, "app.crash", actor, app, data)
        record_event(tx, "audit.app.process.crash", actor, app, data)
        return process

    if process := await cc.store.write(work):
        cc.log(process.app_guid, f'Process has crashed with type: "{process.type}"')


def crash_data(exit_: DropletExited, count: int) -> dict[str, Any]:
    """What clients show of a crash, the *count*-th in a row of its index."""
    return {
        "index": exit_.index,
        "instance": exit_.instance,
        "reason": "CRASHED",
        "exit_description": exit_.exit_description or "",
        "exit_status": exit_.exit_status,
        "crash_count": count,
        "crash_timestamp": exit_.crash_timestamp,
    }
