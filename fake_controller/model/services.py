"""Service instances, and what is bound to them."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct, field

from fake_controller.model.record import Record

#: An operation has not ended while its state is one of these.
UNFINISHED = ("initial", "in progress")


class Operation(Struct, frozen=True, kw_only=True):
    """The latest thing that was done to a service instance or a binding, and how it went."""

    type: str  # create, update, delete
    state: str  # initial (not yet at the broker), in progress, succeeded, failed
    description: str | None = None
    created_at: float
    updated_at: float
    broker_operation: str | None = None  # what the broker calls it; given back when it is asked

    @property
    def unfinished(self) -> bool:
        """Whether it goes on."""
        return self.state in UNFINISHED

    def is_(self, type_: str, *states: str) -> bool:
        """Whether it is of this type and in one of *states*."""
        return self.type == type_ and self.state in states


class ServiceInstance(Record, frozen=True, kw_only=True):
    """Something that apps use: a managed one lives at a broker, others are only told of."""

    table: ClassVar[str] = "service_instances"
    indexed: ClassVar[tuple[str, ...]] = ("name", "space_guid", "type", "service_plan_guid")

    name: str
    space_guid: str
    type: str  # managed, user-provided
    tags: tuple[str, ...] = ()
    last_operation: Operation
    # Of user-provided ones.
    credentials: dict[str, Any] = field(default_factory=dict)
    syslog_drain_url: str | None = None
    route_service_url: str | None = None
    # Of managed ones.
    service_plan_guid: str | None = None
    dashboard_url: str | None = None
    maintenance_info: dict[str, Any] | None = None  # of the plan, when it was last applied
    broker_metadata: dict[str, Any] | None = None

    @property
    def managed(self) -> bool:
        """Whether a broker has it."""
        return self.type == "managed"


class ServiceInstanceShare(Record, frozen=True, kw_only=True):
    """A service instance can be bound in one more space than its own."""

    table: ClassVar[str] = "service_instance_shares"
    indexed: ClassVar[tuple[str, ...]] = ("service_instance_guid", "space_guid")

    service_instance_guid: str
    space_guid: str


class ServiceCredentialBinding(Record, frozen=True, kw_only=True):
    """Credentials of a service instance: for an app, or as a key for people."""

    table: ClassVar[str] = "service_credential_bindings"
    indexed: ClassVar[tuple[str, ...]] = ("name", "type", "service_instance_guid", "app_guid")

    type: str  # app, key
    name: str | None = None
    service_instance_guid: str
    app_guid: str | None = None  # of a key: None
    credentials: dict[str, Any] = field(default_factory=dict)
    syslog_drain_url: str | None = None
    volume_mounts: tuple[dict[str, Any], ...] = ()
    last_operation: Operation


class ServiceErrand(Record, frozen=True, kw_only=True):
    """Work at a broker that somebody was promised: kept until it ends, over restarts, too."""

    table: ClassVar[str] = "service_errands"
    indexed: ClassVar[tuple[str, ...]] = ("resource_guid",)

    purpose: str  # provision, update, deprovision, bind, unbind; or forget-instance, forget-binding
    resource_guid: str  # of an instance, or of a binding of either kind
    actor: dict[str, str]  # who asked: guid, name, type
    job_guid: str | None = None
    within: str | None = None  # the errand that this one is a part of
    asked: dict[str, Any] = field(default_factory=dict)  # what the purpose needs besides
    sent: bool = False  # the broker has begun with it, and is asked how it stands
    deadline: float = 0.0  # seconds since 1970; for what was sent
