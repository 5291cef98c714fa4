"""Commands that run once."""

from __future__ import annotations

from typing import ClassVar

from fake_controller.model.record import Record

UNFINISHED = ("PENDING", "RUNNING", "CANCELING")


class Task(Record, frozen=True, kw_only=True):
    """A command of an app that runs once, with the droplet it was started with."""

    table: ClassVar[str] = "tasks"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "state", "sequence_id")

    app_guid: str
    droplet_guid: str
    sequence_id: int  # counts from 1 for each app
    name: str
    command: str
    state: str = "PENDING"  # RUNNING SUCCEEDED FAILED CANCELING
    memory_in_mb: int
    disk_in_mb: int
    log_rate: int = -1  # bytes per second; -1 for no limit
    failure_reason: str | None = None
