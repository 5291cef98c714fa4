"""Deployments and revisions. Pure."""

from __future__ import annotations

from fake_controller.model import Deployment, Revision
from fake_controller.present.shape import Json, common, timestamp, to_one


def deployment(record: Deployment, base: str) -> Json:
    """A deployment."""
    shown = common(record, base, "deployments")
    own = f"{base}/v3/deployments/{record.guid}"
    shown["links"]["app"] = {"href": f"{base}/v3/apps/{record.app_guid}"}
    if record.status_value == "ACTIVE":
        shown["links"]["cancel"] = {"href": f"{own}/actions/cancel", "method": "POST"}
    if record.status_reason == "PAUSED":
        shown["links"]["continue"] = {"href": f"{own}/actions/continue", "method": "POST"}
    options: Json = {
        "max_in_flight": record.max_in_flight,
        "web_instances": record.options.get("instances"),
        "memory_in_mb": record.options.get("memory_in_mb"),
        "disk_in_mb": record.options.get("disk_in_mb"),
        "log_rate_limit_in_bytes_per_second": record.options.get("log_rate"),
    }
    status: Json = {
        "value": record.status_value,
        "reason": record.status_reason,
        "details": {
            "last_successful_healthcheck": timestamp(record.status_changed_at),
            "last_status_change": timestamp(record.status_changed_at),
        },
    }
    if record.strategy == "canary":
        # After its last step a canary goes on like a rolling deployment.
        current = min(record.canary_step, record.canary_steps)
        status["canary"] = {"steps": {"current": current, "total": record.canary_steps}}
        steps = [{"instance_weight": weight} for weight in record.canary_weights]
        options["canary"] = {"steps": steps}
    version = record.revision_version
    return shown | {
        "status": status,
        "strategy": record.strategy,
        "options": options,
        "droplet": {"guid": record.droplet_guid},
        "previous_droplet": {"guid": record.previous_droplet_guid},
        "new_processes": [{"guid": record.new_process_guid, "type": "web"}],
        "revision": {"guid": record.revision_guid, "version": version} if version else None,
        "relationships": {"app": to_one(record.app_guid)},
    }


def revision(record: Revision, base: str, deployable: bool) -> Json:
    """A revision; *deployable* while its droplet is there."""
    shown = common(record, base, "revisions")
    own = f"{base}/v3/revisions/{record.guid}"
    shown["links"] |= {
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
        "environment_variables": {"href": f"{own}/environment_variables"},
    }
    return shown | {
        "version": record.version,
        "droplet": {"guid": record.droplet_guid},
        "processes": {type_: {"command": text} for type_, text in record.commands.items()},
        "sidecars": [],
        "description": record.description,
        "deployable": deployable,
        "relationships": {"app": to_one(record.app_guid)},
    }
