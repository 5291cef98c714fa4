"""Sidecars: commands beside the main one of an instance."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import present, sidecars
from fake_controller.acting import Acting
from fake_controller.conditions import holds
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.model import App, Process, Sidecar

MOST = 2**31 - 1  # MB

SIDECARS = Listing(
    kind=Sidecar,
    orders=("name",),
    present=lambda record, base, _: present.sidecar(record, base),
)


class NewSidecar(msgspec.Struct):
    name: str
    command: str
    process_types: list[str]
    memory_in_mb: int | None = None


class ChangedSidecar(msgspec.Struct):
    name: str | None = None
    command: str | None = None
    process_types: list[str] | None = None
    memory_in_mb: int | msgspec.UnsetType | None = msgspec.UNSET


def routes(api: Api) -> None:
    """``/v3/sidecars``, those of an app, and those beside one of its processes."""
    api.shows("/v3/sidecars/<guid>", SIDECARS)
    api.lists("/v3/apps/<guid>/sidecars", SIDECARS, below=App, by="app_guid")

    @api.route("GET", "/v3/processes/<guid>/sidecars", lists=SIDECARS)
    async def of_process(guid: str) -> Response:
        process = await api.read(lambda acting: acting.see(Process, guid))
        beside = holds("process_types", process.type)
        return await api.listed(SIDECARS, beside & sidecars.of_app(process.app_guid))

    @api.post("/v3/apps/<guid>/sidecars", body=NewSidecar)
    async def create(guid: str, wanted: NewSidecar) -> Response:
        _check(wanted)

        def work(acting: Acting) -> Sidecar:
            return sidecars.create_sidecar(
                acting.tx, acting.change(App, guid), **msgspec.structs.asdict(wanted)
            )

        return await api.show(SIDECARS, (await api.write(work)).guid, 201)

    @api.patch("/v3/sidecars/<guid>", body=ChangedSidecar)
    async def change(guid: str, wanted: ChangedSidecar) -> Response:
        _check(wanted)
        # A null takes the memory away, and changes nothing else.
        given = {
            name: value
            for name, value in msgspec.structs.asdict(wanted).items()
            if value is not msgspec.UNSET and (value is not None or name == "memory_in_mb")
        }

        def work(acting: Acting) -> None:
            sidecars.change_sidecar(acting.tx, acting.change(Sidecar, guid), **given)

        await api.write(work)
        return await api.show(SIDECARS, guid)

    @api.delete("/v3/sidecars/<guid>")
    async def delete(guid: str) -> Response:
        await api.write(lambda acting: acting.tx.delete(acting.change(Sidecar, guid)))
        return Response("", status=204)


def _check(wanted: NewSidecar | ChangedSidecar) -> None:
    """Raises 422 with all that is wrong; null stands for what is not changed."""
    errors = []
    texts: tuple[tuple[str, Any, int], ...] = (
        ("Name", wanted.name, sidecars.MOST_NAME),
        ("Command", wanted.command, sidecars.MOST_COMMAND),
    )
    for label, value, most in texts:
        if value is not None and not value.strip():
            errors.append(f"{label} can't be blank")
        elif value is not None and len(value) > most:
            errors.append(f"{label} is too long (maximum is {most} characters)")
    if wanted.process_types == []:
        errors.append("Process types must have at least 1 process_type")
    memory = wanted.memory_in_mb
    if isinstance(memory, int) and memory < 1:
        errors.append("Memory in mb must be greater than 0")
    elif isinstance(memory, int) and memory > MOST:
        errors.append(f"Memory in mb must be less than or equal to {MOST}")
    if errors:
        raise unprocessable(", ".join(errors))
