"""What runs of an app, and how it is replaced."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .shape import Guid, LogRate, Named, Natural, OfApp, Tagged, Time


class CheckData(Struct):
    """Details of a check."""

    timeout: Natural | None = None
    invocation_timeout: Natural | None = None
    endpoint: str | None = None


class Check(Struct):
    """How an instance is looked at."""

    type: Literal["port", "http", "process"]
    data: CheckData


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
