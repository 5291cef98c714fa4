"""The ssh room's controller: who may log in to which instance, and where clients find the room."""

from __future__ import annotations

import re

import trio

from appliance.kernel.bus import BusClosed, NoResponders, RequestTimeout
from appliance.kernel.bus.codec import Undecodable
from appliance.ssh.messages import SshAdvertise, SshLocate
from fake_controller.acting import Acting
from fake_controller.actual import Instance
from fake_controller.controller import Controller
from fake_controller.errors import CloudError
from fake_controller.features import OF_APPS, OF_SPACES, enabled
from fake_controller.messages import SshAuthorize, SshAuthorized
from fake_controller.model import App, Process, Space

LOCATE_SECONDS = 5.0  # for the ssh room to make its key, which takes 0.1

_USER = re.compile(r"cf:([A-Za-z0-9-]{1,64})/(\d{1,6})")

INVALID_CODE = "The one-time code is wrong, has been used, or is too old."
INVALID_USER = "The user must be cf:GUID/INDEX, with the guid of a process or of an app."
NOT_ALLOWED = "You are not authorized to log in to this app."


def disabled(app: App, space: Space) -> str:
    """Why nobody may log in to *app*, in the API's words; "" when they may."""
    if not enabled(OF_SPACES, space.features, "ssh"):
        return f"Disabled for space {space.name}"
    return "" if enabled(OF_APPS, app.features, "ssh") else "Disabled for app"


async def authorize(cc: Controller, question: SshAuthorize) -> SshAuthorized:
    """Which instance the client gets into, or why it does not; either becomes an event."""
    identity = cc.codes.redeem(question.code, trio.current_time())
    if identity is None:
        return SshAuthorized(refusal=INVALID_CODE)
    named = _USER.fullmatch(question.user)
    if named is None:
        return SshAuthorized(refusal=INVALID_USER)
    guid, index = named[1], int(named[2])

    def work(acting: Acting) -> SshAuthorized:
        process = _process(acting, guid)
        if process is None:
            return SshAuthorized(refusal=NOT_ALLOWED)
        app = acting.tx.need(App, process.app_guid)
        running = [one for one in cc.actual.of(process.guid) if one.index == index]
        refusal = _refusal(acting, app, running, index)
        outcome = "unauthorized" if refusal else "authorized"
        acting.audit(f"audit.app.ssh-{outcome}", app, {"index": index})
        if refusal:
            return SshAuthorized(refusal=refusal)
        return SshAuthorized(
            droplet=process.guid,
            index=index,
            instance=running[0].guid,
            app_id=app.guid,
            username=identity.name,
        )

    return await cc.write_as(identity, work)


def _process(acting: Acting, guid: str) -> Process | None:
    """The process of that guid, or the web process of the app of that guid."""
    tx = acting.tx
    return tx.get(Process, guid) or tx.latest(Process, app_guid=guid, type="web")


def _refusal(acting: Acting, app: App, running: list[Instance], index: int) -> str:
    try:
        acting.change(App, app.guid)
    except CloudError:
        return NOT_ALLOWED  # also to those who may not know that there is such an app
    if why := disabled(app, acting.tx.need(Space, app.space_guid)):
        return f"SSH is {why[0].lower()}{why[1:]}."
    if app.state != "STARTED":
        return "The app is not started."
    if not running or running[0].state != "RUNNING":
        return f"Instance {index} of the app is not running."
    return ""


async def answer(
    cc: Controller, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer the ssh room, until cancelled."""
    async with cc.kit.subscribe(SshAuthorize, queue="cc") as questions:
        task_status.started()
        async for question in questions:
            cc.kit.respond(question, await authorize(cc, question.body))


async def follow(
    cc: Controller, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Know where the ssh room is, until cancelled."""
    async with cc.kit.subscribe(SshAdvertise) as news, trio.open_nursery() as looking:
        looking.start_soon(_look, cc)
        task_status.started()
        async for one in news:
            cc.ssh_room.about = one.body


async def _look(cc: Controller) -> None:
    """Ask for a room that has started before us."""
    try:
        cc.ssh_room.about = await cc.kit.request(SshLocate(), SshAdvertise, timeout=LOCATE_SECONDS)
    except (NoResponders, RequestTimeout, Undecodable, BusClosed) as error:
        cc.kit.trace.event("ssh.unknown", why=str(error))
    finally:
        cc.ssh_room.settled.set()
