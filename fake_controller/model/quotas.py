"""How much organizations and spaces may use."""

from __future__ import annotations

from typing import ClassVar

from fake_controller.model.record import Record


class Quota(Record, frozen=True, kw_only=True):
    """Limits; None is no limit."""

    name: str
    total_memory_in_mb: int | None = None
    per_process_memory_in_mb: int | None = None
    total_instances: int | None = None
    per_app_tasks: int | None = None
    log_rate_limit_in_bytes_per_second: int | None = None
    paid_services_allowed: bool = True
    total_service_instances: int | None = None
    total_service_keys: int | None = None
    total_routes: int | None = None
    total_reserved_ports: int | None = None


class OrganizationQuota(Quota, frozen=True, kw_only=True):
    """What each organization that it is applied to may use."""

    table: ClassVar[str] = "organization_quotas"
    indexed: ClassVar[tuple[str, ...]] = ("name",)

    total_domains: int | None = None


class SpaceQuota(Quota, frozen=True, kw_only=True):
    """What each space of its organization that it is applied to may use."""

    table: ClassVar[str] = "space_quotas"
    indexed: ClassVar[tuple[str, ...]] = ("name", "organization_guid")

    organization_guid: str
