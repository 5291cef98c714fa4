"""What happened, for those who ask later."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import field

from fake_controller.model.record import Record


class AuditEvent(Record, frozen=True, kw_only=True):
    """Who did what to what; also what happened by itself, such as a crash."""

    table: ClassVar[str] = "audit_events"
    indexed: ClassVar[tuple[str, ...]] = ("type", "target_guid", "space_guid", "organization_guid")

    type: str  # audit.app.create, app.crash, …
    actor: dict[str, str]  # guid, type, name
    target: dict[str, str]  # guid, type, name
    target_guid: str
    data: dict[str, Any] = field(default_factory=dict)
    space_guid: str | None = None
    organization_guid: str | None = None

    @classmethod
    def noun(cls) -> str:
        """What messages call one."""
        return "Event"
