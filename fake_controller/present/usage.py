"""Usage events. Pure."""

from __future__ import annotations

from fake_controller.model import AppUsageEvent, ServiceUsageEvent
from fake_controller.present.shape import Json, common

_NOBODY: Json = {"guid": None, "name": None}


def app_usage_event(record: AppUsageEvent, base: str) -> Json:
    """How much of an app runs now, and ran before."""
    shown = common(record, base, "app_usage_events", metadata=False)
    return shown | {
        "state": {"current": record.state, "previous": record.previous_state},
        "app": record.about.get("app", _NOBODY),
        "process": record.about.get("process", {"guid": None, "type": None}),
        "space": record.about["space"],
        "organization": record.about["organization"],
        "buildpack": record.about.get("buildpack", _NOBODY),
        "task": record.about.get("task", _NOBODY),
        "memory_in_mb_per_instance": {
            "current": record.memory_in_mb,
            "previous": record.previous_memory_in_mb,
        },
        "instance_count": {"current": record.instances, "previous": record.previous_instances},
    }


def service_usage_event(record: ServiceUsageEvent, base: str) -> Json:
    """What became of a service instance."""
    shown = common(record, base, "service_usage_events", metadata=False)
    return shown | {"state": record.state} | record.about
