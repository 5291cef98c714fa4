"""Sidecars of an app: making and changing them, within the memory of their processes."""

from __future__ import annotations

from collections.abc import Sequence

from fake_controller.conditions import Condition, holds, is_
from fake_controller.errors import unprocessable
from fake_controller.model import App, Droplet, Process, Sidecar
from fake_controller.store import Tx

MOST_NAME = 255  # characters
MOST_COMMAND = 4096
FROM_BUILDPACK = "buildpack"  # the origin of those that a droplet brings


def create_sidecar(
    tx: Tx,
    app: App,
    *,
    name: str,
    command: str,
    process_types: Sequence[str],
    memory_in_mb: int | None = None,
) -> Sidecar:
    """A new sidecar of *app*; raises 422 when it is taken, or does not fit its processes."""
    if tx.first(Sidecar, app_guid=app.guid, name=name):
        raise unprocessable(f"Sidecar with name '{name}' already exists for given app")
    sidecar = tx.new(
        Sidecar,
        app_guid=app.guid,
        name=name,
        command=command,
        process_types=tuple(dict.fromkeys(process_types)),
        memory_in_mb=memory_in_mb,
    )
    check_fits(tx, sidecar)
    return sidecar


def change_sidecar(tx: Tx, sidecar: Sidecar, **values: object) -> Sidecar:
    """*sidecar* with other *values*; raises 422 as `create_sidecar` does."""
    changed = tx.change(sidecar, **values)
    if tx.count(Sidecar, app_guid=changed.app_guid, name=changed.name) > 1:
        raise unprocessable(f"Sidecar with name '{changed.name}' already exists for given app")
    check_fits(tx, changed)
    return changed


def of_app(app_guid: str) -> Condition:
    """The sidecars of one app."""
    return is_("app_guid", app_guid)


def adopt_sidecars(tx: Tx, app: App, droplet: Droplet | None) -> None:
    """Give *app* the sidecars that the buildpacks of *droplet* want, in place of an older one's.

    A sidecar that the user has made under the same name stays his.
    """
    for old in tx.find(Sidecar, app_guid=app.guid, origin=FROM_BUILDPACK):
        tx.delete(old)
    for wanted in droplet.sidecars if droplet else ():
        if tx.first(Sidecar, app_guid=app.guid, name=wanted["name"]) is None:
            tx.new(
                Sidecar,
                app_guid=app.guid,
                name=wanted["name"],
                command=wanted["command"],
                process_types=tuple(wanted["process_types"]),
                memory_in_mb=wanted["memory"],
                origin=FROM_BUILDPACK,
            )


def sidecars_of(tx: Tx, app_guid: str, process_type: str) -> list[Sidecar]:
    """The sidecars beside *process_type*, by name."""
    beside = holds("process_types", process_type)
    return tx.find(Sidecar, of_app(app_guid) & beside, order_by="name")


def check_fits(tx: Tx, sidecar: Sidecar) -> None:
    """Raises 422 when a process of *sidecar* has too little memory for all of its sidecars."""
    for process in tx.find(Process, app_guid=sidecar.app_guid, type=sidecar.process_types):
        if _taken(tx, process) >= process.memory_in_mb:
            raise unprocessable(
                "The memory allocation defined is too large to run with the dependent "
                f'"{process.type}" process'
            )


def check_memory(tx: Tx, process: Process, memory_in_mb: int) -> None:
    """Raises 422 when *memory_in_mb* is too little for the sidecars of *process*."""
    if 0 < memory_in_mb <= _taken(tx, process):
        raise unprocessable(
            "The requested memory allocation is not large enough to run all of your sidecar "
            "processes"
        )


def _taken(tx: Tx, process: Process) -> int:
    return sum(one.memory_in_mb or 0 for one in sidecars_of(tx, process.app_guid, process.type))
