"""Quotas, and what is used of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fake_controller.model import Organization, OrganizationQuota, Quota, Space, SpaceQuota
from fake_controller.present.shape import Json, common, to_many, to_one
from fake_controller.quota import Usage


def organization_quota(record: OrganizationQuota, base: str, of: Sequence[Organization]) -> Json:
    """What each of the organizations *of* may use."""
    shown = common(record, base, "organization_quotas", metadata=False) | _limits(record)
    return shown | {
        "domains": {"total_domains": record.total_domains},
        "relationships": {"organizations": to_many(one.guid for one in of)},
    }


def space_quota(record: SpaceQuota, base: str, of: Sequence[Space]) -> Json:
    """What each of the spaces *of* may use."""
    shown = common(record, base, "space_quotas", metadata=False) | _limits(record)
    own = f"{base}/v3/organizations/{record.organization_guid}"
    shown["links"]["organization"] = {"href": own}
    return shown | {
        "relationships": {
            "organization": to_one(record.organization_guid),
            "spaces": to_many(one.guid for one in of),
        },
    }


def _limits(quota: Quota) -> Json:
    return {
        "name": quota.name,
        "apps": {
            "total_memory_in_mb": quota.total_memory_in_mb,
            "per_process_memory_in_mb": quota.per_process_memory_in_mb,
            "total_instances": quota.total_instances,
            "per_app_tasks": quota.per_app_tasks,
            "log_rate_limit_in_bytes_per_second": quota.log_rate_limit_in_bytes_per_second,
        },
        "services": {
            "paid_services_allowed": quota.paid_services_allowed,
            "total_service_instances": quota.total_service_instances,
            "total_service_keys": quota.total_service_keys,
        },
        "routes": {
            "total_routes": quota.total_routes,
            "total_reserved_ports": quota.total_reserved_ports,
        },
    }


def usage_summary(usage: Usage) -> Json:
    """What is used somewhere."""
    return {
        "started_instances": usage.started_instances,
        "memory_in_mb": usage.memory_in_mb,
        "routes": usage.routes,
        "service_instances": usage.service_instances,
        "reserved_ports": usage.reserved_ports,
        "domains": usage.domains,
        "per_app_tasks": usage.tasks,
        "service_keys": usage.service_keys,
    }


def usage_in(where: Organization | Space, usage: Usage, base: str) -> Json:
    """What is used in *where*."""
    own = f"{base}/v3/{where.table}/{where.guid}"
    return {
        "usage_summary": usage_summary(usage),
        "links": {
            "self": {"href": f"{own}/usage_summary"},
            where.table.removesuffix("s"): {"href": own},
        },
    }
