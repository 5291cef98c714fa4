"""Commands beside the main one of an instance."""

from __future__ import annotations

from typing import ClassVar

from fake_controller.model.record import Record


class Sidecar(Record, frozen=True, kw_only=True):
    """A command that runs beside each instance of some process types of an app."""

    table: ClassVar[str] = "sidecars"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid",)

    app_guid: str
    name: str
    command: str
    process_types: tuple[str, ...]
    memory_in_mb: int | None = None  # of the instance's own; None: no limit of its own
    origin: str = "user"
