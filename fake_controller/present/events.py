"""Events. Pure."""

from __future__ import annotations

from fake_controller.model import AuditEvent
from fake_controller.present.shape import Json, common


def audit_event(record: AuditEvent, base: str) -> Json:
    """Who did what to what."""
    return common(record, base, "audit_events", metadata=False) | {
        "type": record.type,
        "actor": record.actor,
        "target": record.target,
        "data": record.data,
        "space": {"guid": record.space_guid} if record.space_guid else None,
        "organization": {"guid": record.organization_guid} if record.organization_guid else None,
    }
