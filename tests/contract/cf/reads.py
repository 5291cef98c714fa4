"""What the CLI reads of each resource: a field that lacks a default must be there, in its type.

Go's decoder is as strict about types as this one, and as careless about fields it does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Guid = Annotated[str, Meta(min_length=1)]
Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Natural = Annotated[int, Meta(ge=0)]
LogRate = Annotated[int, Meta(ge=-1)]


class Named(Struct):
    """Something that has a guid."""

    guid: Guid


class ToOne(Struct):
    """A relationship."""

    data: Named | None

    @property
    def guid(self) -> str:
        """Where it leads; it leads somewhere."""
        assert self.data is not None
        return self.data.guid


class ToMany(Struct):
    """A relationship to several."""

    data: list[Named]


class Link(Struct):
    """Another URL."""

    href: str


class Metadata(Struct):
    """What people have noted."""

    labels: dict[str, str]
    annotations: dict[str, str]


class Resource(Struct, kw_only=True):
    """What everything has."""

    guid: Guid
    created_at: Time
    updated_at: Time
    links: dict[str, Link]


class Tagged(Resource, kw_only=True):
    """What people may note something about."""

    metadata: Metadata


class Job(Struct):
    """What is polled; ``errors`` say why one failed."""

    guid: Guid
    operation: str
    state: Literal["PROCESSING", "POLLING", "COMPLETE", "FAILED"]
    errors: list[Error]
    warnings: list[JobWarning]
    created_at: Time
    updated_at: Time
    links: dict[str, Link]


class Error(Struct):
    """What went wrong."""

    code: int
    title: str
    detail: str


class JobWarning(Struct):
    """What is shown, and stops nothing."""

    detail: str


# Who and where.


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


# Apps and what runs.


class LifecycleData(Struct):
    """How it is built."""

    buildpacks: list[str]
    stack: str | None


class Lifecycle(Struct):
    """By its type the summary is laid out."""

    type: Literal["buildpack"]
    data: LifecycleData


class AppOf(Struct):
    """An app's relationships."""

    space: ToOne
    current_droplet: ToOne


class App(Tagged, kw_only=True):
    """An app."""

    name: str
    state: Literal["STARTED", "STOPPED"]
    lifecycle: Lifecycle
    relationships: AppOf


class CheckData(Struct):
    """Details of a check."""

    timeout: Natural | None = None
    invocation_timeout: Natural | None = None
    endpoint: str | None = None


class Check(Struct):
    """How an instance is looked at."""

    type: Literal["port", "http", "process"]
    data: CheckData


class OfApp(Struct):
    """``cf apps`` groups by it."""

    app: ToOne


class ProcessInstance(Struct):
    """What ``embed=process_instances`` adds."""

    index: Natural
    state: str
    since: Natural


class Process(Tagged, kw_only=True):
    """A process."""

    type: str
    command: str | None
    instances: Natural
    memory_in_mb: Natural
    disk_in_mb: Natural
    log_rate_limit_in_bytes_per_second: LogRate
    health_check: Check
    readiness_health_check: Check
    relationships: OfApp
    process_instances: list[ProcessInstance] | None = None


class Usage(Struct):
    """What an instance uses now."""

    cpu: float | None = None
    cpu_entitlement: float | None = None
    mem: Natural | None = None
    disk: Natural | None = None
    log_rate: Natural | None = None


class Stat(Struct):
    """One instance."""

    type: str
    index: Natural
    state: Literal["RUNNING", "STARTING", "CRASHED", "DOWN", "STOPPING"]
    routable: bool | None
    uptime: Natural | None
    isolation_segment: str | None
    details: str | None
    usage: Usage | None = None
    mem_quota: Natural | None = None
    disk_quota: Natural | None = None
    log_rate_limit: LogRate | None = None


class Stats(Struct):
    """All instances of a process; no pages."""

    resources: list[Stat]


class Sidecar(Struct):
    """A sidecar."""

    guid: Guid
    name: str
    command: str
    process_types: list[str]
    memory_in_mb: Natural | None


class PackageData(Struct):
    """Its bytes."""

    checksum: dict[str, str | None]
    error: str | None


class Package(Tagged, kw_only=True):
    """A package."""

    type: Literal["bits"]
    state: Literal["AWAITING_UPLOAD", "PROCESSING_UPLOAD", "READY", "FAILED", "COPYING", "EXPIRED"]
    data: PackageData
    relationships: OfApp


class Build(Tagged, kw_only=True):
    """A build."""

    state: Literal["STAGING", "STAGED", "FAILED"]
    error: str | None
    package: Named
    droplet: Named | None


class DropletBuildpack(Struct):
    """What built it."""

    name: str
    detect_output: str | None
    version: str | None = None
    buildpack_name: str | None = None


class DropletLifecycle(Struct):
    """How it was made."""

    type: str


class Droplet(Tagged, kw_only=True):
    """A droplet."""

    state: Literal["AWAITING_UPLOAD", "PROCESSING_UPLOAD", "STAGED", "COPYING", "FAILED", "EXPIRED"]
    lifecycle: DropletLifecycle
    stack: str | None
    image: str | None
    buildpacks: list[DropletBuildpack] | None
    relationships: OfApp


class StatusDetails(Struct):
    """When it changed."""

    last_status_change: Time


class Status(Struct):
    """How far it is."""

    value: Literal["ACTIVE", "FINALIZED"]
    reason: str
    details: StatusDetails


class NewProcess(Struct):
    """What ``--no-wait`` looks at."""

    guid: Guid
    type: str


class DeploymentOptions(Struct):
    """What was asked for."""

    max_in_flight: Natural


class Deployment(Tagged, kw_only=True):
    """A deployment."""

    status: Status
    strategy: Literal["rolling", "canary", "recreate"]
    options: DeploymentOptions
    droplet: Named
    new_processes: list[NewProcess]
    relationships: OfApp


class Revision(Tagged, kw_only=True):
    """A revision."""

    version: Natural
    description: str
    deployable: bool
    droplet: Named


class TaskResult(Struct):
    """Why it failed."""

    failure_reason: str | None


class Task(Tagged, kw_only=True):
    """A task."""

    sequence_id: Annotated[int, Meta(ge=1)]
    name: Annotated[str, Meta(min_length=1)]
    state: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELING"]
    memory_in_mb: Natural
    disk_in_mb: Natural
    result: TaskResult
    command: str | None = None  # not in lists


class Feature(Struct):
    """Something of an app that is on or off."""

    name: str
    description: str
    enabled: bool


class Enabled(Struct):
    """Whether ssh is allowed, and if not, why."""

    enabled: bool
    reason: str


class Env(Struct):
    """All that ``cf env`` shows."""

    staging_env_json: dict[str, Any]
    running_env_json: dict[str, Any]
    environment_variables: dict[str, Any]
    system_env_json: dict[str, Any]
    application_env_json: dict[str, Any]


class Var(Struct):
    """Environment variables."""

    var: dict[str, str]


# Routes and domains.


class Domain(Tagged, kw_only=True):
    """A domain; shared when its organization is null."""

    name: str
    internal: bool
    supported_protocols: list[str]
    router_group: Named | None
    relationships: DomainOf


class DomainOf(Struct):
    """Whose it is."""

    organization: ToOne


class DestinationProcess(Struct):
    """Which process."""

    type: str


class DestinationApp(Struct):
    """Which app."""

    guid: Guid
    process: DestinationProcess


class Destination(Struct):
    """Where a route leads."""

    guid: Guid
    app: DestinationApp
    port: Natural | None
    protocol: str | None
    weight: Natural | None = None


class Destinations(Struct):
    """Where a route leads, all of it."""

    destinations: list[Destination]


class RouteOf(Struct):
    """A route's relationships."""

    space: ToOne
    domain: ToOne


class Route(Tagged, kw_only=True):
    """A route."""

    protocol: str
    host: str
    path: str
    port: Natural | None
    url: str
    destinations: list[Destination]
    relationships: RouteOf
    options: dict[str, str] = {}


class Reservation(Struct):
    """Whether there is such a route."""

    matching_route: bool


# The rest.


class Actor(Struct):
    """Who did it."""

    name: str


class AuditEvent(Resource, kw_only=True):
    """Something that was done."""

    type: str
    actor: Actor
    data: dict[str, Any]


class LastOperation(Struct):
    """How far it is."""

    type: str
    state: str
    description: str | None
    created_at: Time
    updated_at: Time


class InstanceOf(Struct):
    """An instance's relationships."""

    space: ToOne
    service_plan: ToOne | None = None


class ServiceInstance(Tagged, kw_only=True):
    """A service instance."""

    name: str
    type: Literal["user-provided", "managed"]
    tags: list[str]
    syslog_drain_url: str | None
    route_service_url: str | None
    last_operation: LastOperation
    relationships: InstanceOf


class BindingOf(Struct):
    """A binding's relationships."""

    service_instance: ToOne
    app: ToOne | None = None


class Binding(Tagged, kw_only=True):
    """A credential binding."""

    name: str | None
    type: Literal["app", "key"]
    last_operation: LastOperation
    relationships: BindingOf


class Credentials(Struct):
    """What a binding is for."""

    credentials: dict[str, Any]


class Buildpack(Tagged, kw_only=True):
    """A buildpack."""

    name: str
    stack: str | None
    position: Natural
    enabled: bool
    locked: bool
    state: str
    filename: str | None
    lifecycle: str


class Stack(Tagged, kw_only=True):
    """A stack."""

    name: str
    description: str


class FeatureFlag(Struct):
    """A feature flag."""

    name: str
    enabled: bool
    updated_at: Time | None
    custom_error_message: str | None


class SecurityGroup(Resource, kw_only=True):
    """A security group."""

    name: str
    rules: list[dict[str, Any]]
    globally_enabled: dict[str, bool]


class IsolationSegment(Tagged, kw_only=True):
    """An isolation segment."""

    name: str
