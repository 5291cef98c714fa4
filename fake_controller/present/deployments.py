"""Deployments. Pure."""

from __future__ import annotations

from fake_controller.model import Deployment
from fake_controller.present.shape import Json, common, timestamp, to_one


def deployment(record: Deployment, base: str) -> Json:
    """A deployment."""
    shown = common(record, base, "deployments")
    own = f"{base}/v3/deployments/{record.guid}"
    shown["links"] |= {
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
        "cancel": {"href": f"{own}/actions/cancel", "method": "POST"},
    }
    return shown | {
        "status": {
            "value": record.status_value,
            "reason": record.status_reason,
            "details": {
                "last_successful_healthcheck": timestamp(record.status_changed_at),
                "last_status_change": timestamp(record.status_changed_at),
            },
        },
        "strategy": record.strategy,
        "options": {"max_in_flight": record.max_in_flight},
        "droplet": {"guid": record.droplet_guid},
        "previous_droplet": {"guid": record.previous_droplet_guid},
        "new_processes": [{"guid": record.new_process_guid, "type": "web"}],
        "revision": None,
        "relationships": {"app": to_one(record.app_guid)},
    }
