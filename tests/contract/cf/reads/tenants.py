"""Organizations, spaces, and who may do what there."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .shape import Guid, Natural, Resource, Tagged, Time, ToOne


class OfQuota(Struct):
    """An organization's relationships."""

    quota: ToOne


class Organization(Tagged, kw_only=True):
    """An organization."""

    name: str
    suspended: bool
    relationships: OfQuota


class OfOrganization(Struct):
    """A space's relationships."""

    organization: ToOne
    quota: ToOne


class Space(Tagged, kw_only=True):
    """A space."""

    name: str
    relationships: OfOrganization


class RoleOf(Struct):
    """Who has it, and where: exactly one of the two leads somewhere."""

    user: ToOne
    organization: ToOne
    space: ToOne


class Role(Resource, kw_only=True):
    """A role."""

    type: str
    relationships: RoleOf


class User(Tagged, kw_only=True):
    """A user."""

    username: str | None
    presentation_name: str
    origin: str | None


class Installed(Struct):
    """A user, to UAA."""

    id: Guid
    origin: str


class QuotaApps(Struct):
    """Limits of apps; null is none."""

    total_memory_in_mb: Natural | None
    per_process_memory_in_mb: Natural | None
    total_instances: Natural | None
    log_rate_limit_in_bytes_per_second: int | None


class QuotaServices(Struct):
    """Limits of services."""

    paid_services_allowed: bool
    total_service_instances: Natural | None


class QuotaRoutes(Struct):
    """Limits of routes."""

    total_routes: Natural | None
    total_reserved_ports: Natural | None


class Quota(Resource, kw_only=True):
    """A quota of organizations or spaces."""

    name: str
    apps: QuotaApps
    services: QuotaServices
    routes: QuotaRoutes


class Actor(Struct):
    """Who did it."""

    name: str


class AuditEvent(Resource, kw_only=True):
    """Something that was done."""

    type: str
    actor: Actor
    data: dict[str, Any]


class SecurityGroup(Resource, kw_only=True):
    """A security group."""

    name: str
    rules: list[dict[str, Any]]
    globally_enabled: dict[str, bool]


class IsolationSegment(Tagged, kw_only=True):
    """An isolation segment."""

    name: str


class FeatureFlag(Struct):
    """A feature flag."""

    name: str
    enabled: bool
    updated_at: Time | None
    custom_error_message: str | None
