"""What was used, for those who count it: each change of what runs and of what is had."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import field

from fake_controller.model.record import Record


class AppUsageEvent(Record, frozen=True, kw_only=True):
    """A process or task of an app started, stopped, or came to use more or less."""

    table: ClassVar[str] = "app_usage_events"

    state: str  # STARTED STOPPED TASK_STARTED TASK_STOPPED
    previous_state: str | None = None
    instances: int = 1
    previous_instances: int | None = None
    memory_in_mb: int = 0  # of one instance
    previous_memory_in_mb: int | None = None
    about: dict[str, dict[str, Any]] = field(default_factory=dict)  # app, process, space, …


class ServiceUsageEvent(Record, frozen=True, kw_only=True):
    """A service instance was made, changed or deleted."""

    table: ClassVar[str] = "service_usage_events"

    state: str  # CREATED UPDATED DELETED
    type: str = ""  # of the service instance
    service_offering_guid: str | None = None
    about: dict[str, dict[str, Any]] = field(default_factory=dict)  # space, service_instance, …
