"""Jobs. Pure."""

from __future__ import annotations

from fake_controller.model import Job
from fake_controller.present.shape import Json, common


def job(record: Job, base: str) -> Json:
    """A job."""
    return common(record, base, "jobs", metadata=False) | {
        "operation": record.operation,
        "state": record.state,
        "errors": list(record.errors),
        "warnings": [{"detail": text} for text in record.warnings],
    }
