"""Buildpacks: what administrators offer, and in which order it is tried."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from quart import Response

from appliance.stager.messages import ClearBuildCaches
from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.buildpacks import check_unique, close_gaps, move
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, new_labels, plain, relabelled
from fake_controller.model import App, Buildpack, Stack

NAME = re.compile(r"[-\w]+")
NAME_MOST = 250  # characters
BUILDPACKS = Listing(
    kind=Buildpack,
    filters={
        "names": "name",
        "guids": "guid",
        "stacks": "stack",
        "lifecycle": "lifecycle",
    },
    order="position",
    orders=("position", "lifecycle", "name"),
    present=lambda record, base, _: present.buildpack(record, base),
)


class NewBuildpack(msgspec.Struct):
    name: str
    stack: str | None = None
    position: int | None = None
    enabled: bool | None = None
    locked: bool | None = None
    lifecycle: str | None = None
    metadata: Metadata | None = None


class ChangedBuildpack(msgspec.Struct):
    name: str | None = None
    stack: str | None = None
    position: int | None = None
    enabled: bool | None = None
    locked: bool | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/buildpacks``, and the caches that builds leave."""
    cc = api.cc
    api.lists("/v3/buildpacks", BUILDPACKS)
    api.shows("/v3/buildpacks/<guid>", BUILDPACKS)

    @api.post("/v3/buildpacks", body=NewBuildpack)
    async def create(wanted: NewBuildpack) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(BUILDPACKS, created.guid, 201)

    @api.patch("/v3/buildpacks/<guid>", body=ChangedBuildpack)
    async def change(guid: str, wanted: ChangedBuildpack) -> Response:
        await api.write(lambda acting: _change(acting, guid, wanted))
        return await api.show(BUILDPACKS, guid)

    @api.delete("/v3/buildpacks/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> Buildpack:
            record = acting.change(Buildpack, guid)
            acting.audit("audit.buildpack.delete", record)
            acting.tx.delete(record)
            close_gaps(acting.tx)
            return record

        record = await api.write(work)

        async def forget() -> None:
            cc.forget_buildpack_bits(record.sha256)

        return api.accepted(await cc.start_job("buildpack.delete", forget))

    @api.post("/v3/admin/actions/clear_buildpack_cache")
    async def clear_all() -> Response:
        await api.read(lambda acting: acting.must_be_admin())
        return await _cleared(api, "admin", None)

    @api.post("/v3/apps/<guid>/actions/clear_buildpack_cache")
    async def clear(guid: str) -> Response:
        await api.read(lambda acting: acting.change(App, guid))
        return await _cleared(api, "app", guid)


async def _cleared(api: Api, what: str, app_guid: str | None) -> Response:
    async def tell() -> None:
        api.cc.kit.publish(ClearBuildCaches(app_id=app_guid))

    return api.accepted(await api.cc.start_job(f"{what}.clear_buildpack_cache", tell))


def _create(acting: Acting, wanted: NewBuildpack) -> Buildpack:
    tx = acting.tx
    acting.must_be_admin()
    check_name(wanted.name)
    _check_position(wanted.position)
    if wanted.lifecycle not in (None, "buildpack"):
        raise unprocessable('Lifecycle must be "buildpack": there are no cloud native ones here')
    _check_stack(acting, wanted.stack)
    check_unique(tx, wanted.name, wanted.stack)
    created = tx.new(
        Buildpack,
        name=wanted.name,
        stack=wanted.stack,
        position=tx.count(Buildpack) + 1,
        enabled=wanted.enabled is not False,
        locked=bool(wanted.locked),
        **new_labels(wanted),
    )
    acting.audit("audit.buildpack.create", created, {"request": plain(wanted)})
    return move(tx, created, wanted.position or 1)


def _change(acting: Acting, guid: str, wanted: ChangedBuildpack) -> None:
    tx, record = acting.tx, acting.change(Buildpack, guid)
    values: dict[str, Any] = relabelled(record, wanted)
    if wanted.name is not None:
        check_name(wanted.name)
        values["name"] = wanted.name
    if wanted.stack is not None and wanted.stack != record.stack:
        _check_stack(acting, wanted.stack)
        if record.stack is not None:
            raise unprocessable("Buildpack stack cannot be changed")
        values["stack"] = wanted.stack
    if wanted.enabled is not None:
        values["enabled"] = wanted.enabled
    if wanted.locked is not None:
        values["locked"] = wanted.locked
    check_unique(tx, values.get("name", record.name), values.get("stack", record.stack), guid)
    changed = tx.change(record, **values)
    if wanted.position is not None:
        _check_position(wanted.position)
        changed = move(tx, changed, wanted.position)
    acting.audit("audit.buildpack.update", changed, {"request": plain(wanted)})


def check_name(name: str) -> None:
    """The name of a buildpack or stack: a word of at most `NAME_MOST` characters."""
    if not name.strip():
        raise unprocessable("Name can't be blank")
    if len(name) > NAME_MOST:
        raise unprocessable(f"Name is too long (maximum is {NAME_MOST} characters)")
    if not NAME.fullmatch(name):
        raise unprocessable("Name is invalid")


def _check_position(position: int | None) -> None:
    if position is not None and position < 1:
        raise unprocessable("Position must be greater than or equal to 1")


def _check_stack(acting: Acting, stack: str | None) -> None:
    if stack is not None and acting.tx.first(Stack, name=stack) is None:
        raise unprocessable(f"Stack '{stack}' does not exist")
