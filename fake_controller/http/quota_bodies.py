"""Quotas as request bodies spell them, of organizations and of spaces alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fake_controller.errors import unprocessable
from fake_controller.model import Quota

Limit = int | msgspec.UnsetType | None
MOST = 2**31 - 1  # of a limit
RATE_MOST = 2**63 - 1  # bytes per second


class Apps(msgspec.Struct):
    total_memory_in_mb: Limit = msgspec.UNSET
    per_process_memory_in_mb: Limit = msgspec.UNSET
    total_instances: Limit = msgspec.UNSET
    per_app_tasks: Limit = msgspec.UNSET
    log_rate_limit_in_bytes_per_second: Limit = msgspec.UNSET


class Services(msgspec.Struct):
    paid_services_allowed: bool | msgspec.UnsetType | None = msgspec.UNSET
    total_service_instances: Limit = msgspec.UNSET
    total_service_keys: Limit = msgspec.UNSET


class Routes(msgspec.Struct):
    total_routes: Limit = msgspec.UNSET
    total_reserved_ports: Limit = msgspec.UNSET


class Domains(msgspec.Struct):
    total_domains: Limit = msgspec.UNSET


class ChangedQuota(msgspec.Struct):
    name: str | None = None
    apps: Apps | None = None
    services: Services | None = None
    routes: Routes | None = None
    domains: Domains | None = None


def values_of(wanted: ChangedQuota, kind: type[Quota]) -> dict[str, Any]:
    """The fields of a quota of *kind* that *wanted* sets; checked. Null lifts a limit."""
    given: dict[str, Any] = {}
    for group in ("apps", "services", "routes", "domains"):
        limits: Mapping[str, Any] = msgspec.structs.asdict(getattr(wanted, group) or Apps())
        for name, limit in limits.items():
            if limit is msgspec.UNSET or not hasattr(kind, name):
                continue
            _check_limit(group, name, limit)
            given[name] = True if name == "paid_services_allowed" and limit is None else limit
    return given


def _check_limit(group: str, name: str, limit: int | bool | None) -> None:
    most = RATE_MOST if name.startswith("log_rate") else MOST
    label = f"{group.capitalize()} {name.replace('_', ' ').capitalize()}"
    if limit is not None and limit < 0:
        raise unprocessable(f"{label} must be greater than or equal to 0")
    if limit is not None and limit > most:
        raise unprocessable(f"{label} must be less than or equal to {most}")
