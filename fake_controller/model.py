"""The controller's records. Each is stored as one JSON document under its guid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What every resource has."""

    table: ClassVar[str]
    indexed: ClassVar[tuple[str, ...]] = ()  # fields that lists are filtered by

    guid: str
    created_at: float  # seconds since 1970
    updated_at: float
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Organization(Record):
    """A tenant."""

    table: ClassVar[str] = "organizations"
    indexed: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    suspended: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Space(Record):
    """Where the apps of an organization live."""

    table: ClassVar[str] = "spaces"
    indexed: ClassVar[tuple[str, ...]] = ("name", "organization_guid")

    name: str
    organization_guid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain(Record):
    """The part of a route's name after its host."""

    table: ClassVar[str] = "domains"
    indexed: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    internal: bool = False
    organization_guid: str | None = None  # None: shared


@dataclass(frozen=True, kw_only=True, slots=True)
class User(Record):
    """Somebody who may log in."""

    table: ClassVar[str] = "users"
    indexed: ClassVar[tuple[str, ...]] = ("username",)

    username: str
    origin: str = "uaa"
    password: str = ""  # salted scrypt digest, see tokens.py; "" cannot log in
    admin: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class App(Record):
    """An app: what is desired. `Process` says how many of what."""

    table: ClassVar[str] = "apps"
    indexed: ClassVar[tuple[str, ...]] = ("name", "space_guid", "state")

    name: str
    space_guid: str
    state: str = "STOPPED"  # or STARTED
    buildpacks: tuple[str, ...] = ()
    stack: str = "appliance"
    environment: dict[str, str] = field(default_factory=dict)
    droplet_guid: str | None = None  # the current one


@dataclass(frozen=True, kw_only=True, slots=True)
class Process(Record):
    """One process type of an app. The first web process has the app's own guid.

    On the bus its guid is the ``droplet`` of every message.
    """

    table: ClassVar[str] = "processes"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "type")

    app_guid: str
    type: str
    command: str | None = None  # None: the droplet's own
    instances: int = 1
    memory_in_mb: int
    disk_in_mb: int
    log_rate: int = -1  # bytes per second; -1 for no limit
    health_check_type: str = "port"
    health_check_timeout: int | None = None  # seconds to become healthy
    health_check_invocation_timeout: int | None = None  # seconds
    health_check_interval: int | None = None  # seconds
    health_check_endpoint: str | None = None
    readiness_type: str = "process"
    readiness_endpoint: str | None = None
    readiness_invocation_timeout: int | None = None
    readiness_interval: int | None = None
    droplet_guid: str | None = None  # while deploying: this one instead of the app's
    run_count: int = 0  # starts of this process; a part of the wire's version


@dataclass(frozen=True, kw_only=True, slots=True)
class Package(Record):
    """The app's files as they were pushed."""

    table: ClassVar[str] = "packages"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "state")

    app_guid: str
    type: str = "bits"
    state: str = "AWAITING_UPLOAD"  # PROCESSING_UPLOAD READY FAILED COPYING
    sha256: str | None = None
    size: int | None = None  # bytes
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Build(Record):
    """One attempt to turn a package into a droplet."""

    table: ClassVar[str] = "builds"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "package_guid", "state")

    app_guid: str
    package_guid: str
    state: str = "STAGING"  # STAGED FAILED
    error: str | None = None
    droplet_guid: str | None = None
    buildpacks: tuple[str, ...] = ()
    stack: str = "appliance"
    memory_in_mb: int = 1024
    disk_in_mb: int = 1024
    created_by: dict[str, str] = field(default_factory=dict)
    task_log: str = ""
    failure: dict[str, Any] | None = None  # phase, code, hint, exit_code
    staging: dict[str, Any] | None = None  # sandbox, phases, as the stager told


@dataclass(frozen=True, kw_only=True, slots=True)
class Droplet(Record):
    """A staged app. The bytes are on the archivers, under app_guid and sha1."""

    table: ClassVar[str] = "droplets"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "package_guid", "state")

    app_guid: str
    package_guid: str | None = None
    state: str = "AWAITING_UPLOAD"  # PROCESSING_UPLOAD STAGED FAILED COPYING
    sha1: str | None = None
    sha256: str | None = None
    size: int | None = None  # bytes
    process_types: dict[str, str] = field(default_factory=dict)
    detected: str | None = None
    stack: str | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Route(Record):
    """A name that the router answers."""

    table: ClassVar[str] = "routes"
    indexed: ClassVar[tuple[str, ...]] = ("host", "domain_guid", "space_guid", "path")

    space_guid: str
    domain_guid: str
    host: str = ""
    path: str = ""
    port: int | None = None
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination(Record):
    """A route leads to a process type of an app."""

    table: ClassVar[str] = "destinations"
    indexed: ClassVar[tuple[str, ...]] = ("route_guid", "app_guid")

    route_guid: str
    app_guid: str
    process_type: str = "web"
    port: int | None = None
    weight: int | None = None
    protocol: str = "http1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment(Record):
    """A change of droplet without a gap: a second web process grows, the first shrinks."""

    table: ClassVar[str] = "deployments"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "status_value")

    app_guid: str
    droplet_guid: str
    previous_droplet_guid: str | None
    old_process_guid: str
    new_process_guid: str
    instances: int  # wanted in the end
    status_value: str = "ACTIVE"  # FINALIZED
    status_reason: str = "DEPLOYING"  # DEPLOYED CANCELING CANCELED SUPERSEDED
    status_changed_at: float = 0.0
    strategy: str = "rolling"
    max_in_flight: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(Record):
    """Something that clients poll until it is COMPLETE or FAILED."""

    table: ClassVar[str] = "jobs"

    operation: str
    state: str = "PROCESSING"  # COMPLETE FAILED
    errors: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting(Record):
    """A value that belongs to the installation, such as the key that signs tokens."""

    table: ClassVar[str] = "settings"

    value: str


RECORDS: tuple[type[Record], ...] = (
    Organization,
    Space,
    Domain,
    User,
    App,
    Process,
    Package,
    Build,
    Droplet,
    Route,
    Destination,
    Deployment,
    Job,
    Setting,
)
