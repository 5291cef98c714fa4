"""Audit events: who did what to what."""

from __future__ import annotations

from fake_controller import present
from fake_controller.conditions import among
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.model import AuditEvent

AUDIT_EVENTS = Listing(
    kind=AuditEvent,
    filters={
        "guids": "guid",
        "types": "type",
        "target_guids": "target_guid",
        "target_guids[not]": lambda wanted: ~among("target_guid", wanted),
        "space_guids": "space_guid",
        "organization_guids": "organization_guid",
    },
    present=lambda record, base, _: present.audit_event(record, base),
)


def routes(api: Api) -> None:
    """``/v3/audit_events``."""
    api.lists("/v3/audit_events", AUDIT_EVENTS)
    api.shows("/v3/audit_events/<guid>", AUDIT_EVENTS)
