"""Tasks. Pure."""

from __future__ import annotations

from fake_controller.model import Task
from fake_controller.present.shape import Json, common, to_one


def task(record: Task, base: str, *, command: bool = True) -> Json:
    """A task; lists over all apps do not tell its *command*."""
    shown = common(record, base, "tasks")
    own = f"{base}/v3/tasks/{record.guid}"
    shown["links"] |= {
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
        "droplet": {"href": f"{base}/v3/droplets/{record.droplet_guid}"},
        "cancel": {"href": f"{own}/actions/cancel", "method": "POST"},
    }
    if command:
        shown["command"] = record.command
    return shown | {
        "sequence_id": record.sequence_id,
        "name": record.name,
        "state": record.state,
        "memory_in_mb": record.memory_in_mb,
        "disk_in_mb": record.disk_in_mb,
        "log_rate_limit_in_bytes_per_second": record.log_rate,
        "result": {"failure_reason": record.failure_reason},
        "droplet_guid": record.droplet_guid,
        "user": "vcap",
        "relationships": {"app": to_one(record.app_guid)},
    }
