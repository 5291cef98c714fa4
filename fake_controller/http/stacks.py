"""Stacks: what apps are built for and run on."""

from __future__ import annotations

from typing import Literal

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.conditions import is_
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.apps import APPS
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, new_labels, plain, relabelled
from fake_controller.model import App, Stack

NAME_MOST = 250  # characters, of the description, too
REASON_MOST = 5000

STACKS = Listing(
    kind=Stack,
    filters={"names": "name", "guids": "guid", "default": "default"},
    orders=("name",),
    present=lambda record, base, _: present.stack(record, base),
)
State = Literal["ACTIVE", "RESTRICTED", "DEPRECATED", "DISABLED"]


class NewStack(msgspec.Struct):
    name: str
    description: str | None = None
    state: State = "ACTIVE"
    state_reason: str | None = None
    metadata: Metadata | None = None


class ChangedStack(msgspec.Struct):
    state: State | None = None
    state_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/stacks``."""
    api.lists("/v3/stacks", STACKS)
    api.shows("/v3/stacks/<guid>", STACKS)

    @api.route("GET", "/v3/stacks/<guid>/apps", lists=APPS)
    async def apps(guid: str) -> Response:
        stack = await api.read(lambda acting: acting.see(Stack, guid))
        return await api.listed(APPS, is_("stack", stack.name))

    @api.post("/v3/stacks", body=NewStack)
    async def create(wanted: NewStack) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(STACKS, created.guid, 201)

    @api.patch("/v3/stacks/<guid>", body=ChangedStack)
    async def change(guid: str, wanted: ChangedStack) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        return await api.show(STACKS, guid)

    @api.delete("/v3/stacks/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> None:
            stack = acting.change(Stack, guid)
            if acting.tx.first(App, stack=stack.name):
                raise unprocessable(
                    f"Cannot delete stack '{stack.name}' because apps are currently using the "
                    "stack."
                )
            acting.audit("audit.stack.delete", stack)
            acting.tx.delete(stack)

        await api.write(work)
        return Response("", status=204)


def _create(acting: Acting, wanted: NewStack) -> Stack:
    acting.must_be_admin()
    if not wanted.name.strip():
        raise unprocessable("Name can't be blank")
    _check_length("Name", wanted.name, NAME_MOST)
    _check_length("Description", wanted.description, NAME_MOST)
    _check_length("State reason", wanted.state_reason, REASON_MOST)
    if acting.tx.first(Stack, name=wanted.name):
        raise unprocessable("Name must be unique")
    created = acting.tx.new(
        Stack,
        name=wanted.name,
        description=wanted.description or "",
        state=wanted.state,
        state_reason=wanted.state_reason,
        **new_labels(wanted),
    )
    acting.audit("audit.stack.create", created, {"request": plain(wanted)})
    return created


def _change(acting: Acting, guid: str, wanted: ChangedStack) -> None:
    stack = acting.change(Stack, guid)
    values = relabelled(stack, wanted)
    if wanted.state is not None:
        values["state"] = wanted.state
    if wanted.state_reason is not msgspec.UNSET:
        _check_length("State reason", wanted.state_reason, REASON_MOST)
        values["state_reason"] = wanted.state_reason
    changed = acting.tx.change(stack, **values)
    acting.audit("audit.stack.update", changed, {"request": plain(wanted)})


def _check_length(what: str, text: str | None, most: int) -> None:
    if text is not None and len(text) > most:
        raise unprocessable(f"{what} is too long (maximum is {most} characters)")
