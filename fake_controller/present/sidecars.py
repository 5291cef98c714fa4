"""Sidecars. Pure."""

from __future__ import annotations

from fake_controller.model import Sidecar
from fake_controller.present.shape import Json, common, to_one


def sidecar(record: Sidecar, base: str) -> Json:
    """A sidecar."""
    return common(record, base, "sidecars", metadata=False) | {
        "name": record.name,
        "command": record.command,
        "process_types": list(record.process_types),
        "memory_in_mb": record.memory_in_mb,
        "origin": record.origin,
        "relationships": {"app": to_one(record.app_guid)},
    }
