"""What service brokers offer, and to whom."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import field

from fake_controller.model.record import Record


class ServiceBroker(Record, frozen=True, kw_only=True):
    """A program that speaks the Open Service Broker API; of one space, or for everybody."""

    table: ClassVar[str] = "service_brokers"
    indexed: ClassVar[tuple[str, ...]] = ("name", "space_guid")

    name: str
    url: str
    username: str
    password: str
    space_guid: str | None = None
    state: str = "AVAILABLE"  # SYNCHRONIZING, SYNCHRONIZATION_FAILED, DELETE_IN_PROGRESS

    @property
    def busy(self) -> bool:
        """Whether something is being done with it that must end first."""
        return self.state in ("SYNCHRONIZING", "DELETE_IN_PROGRESS")


class ServiceOffering(Record, frozen=True, kw_only=True):
    """A kind of service, as its broker's catalogue describes it."""

    table: ClassVar[str] = "service_offerings"
    indexed: ClassVar[tuple[str, ...]] = ("name", "service_broker_guid", "catalog_id")

    service_broker_guid: str
    catalog_id: str  # the broker's own
    name: str
    description: str
    bindable: bool
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()  # syslog_drain, route_forwarding, volume_mount
    catalog_metadata: dict[str, Any] = field(default_factory=dict)
    plan_updateable: bool = False
    instances_retrievable: bool = False
    bindings_retrievable: bool = False
    allow_context_updates: bool = False
    available: bool = True  # it is in the catalogue

    @property
    def shareable(self) -> bool:
        """Whether instances can be used in other spaces, too."""
        return self.catalog_metadata.get("shareable") is True


class ServicePlan(Record, frozen=True, kw_only=True):
    """A service offering in one size."""

    table: ClassVar[str] = "service_plans"
    indexed: ClassVar[tuple[str, ...]] = (
        "name", "service_offering_guid", "catalog_id", "visibility",
    )  # fmt: skip

    service_offering_guid: str
    catalog_id: str  # the broker's own
    name: str
    description: str
    free: bool = True
    bindable: bool | None = None  # None: as the offering
    plan_updateable: bool | None = None  # None: as the offering
    catalog_metadata: dict[str, Any] = field(default_factory=dict)
    maximum_polling_duration: int | None = None  # seconds
    maintenance_info: dict[str, Any] | None = None
    schemas: dict[str, Any] = field(default_factory=dict)
    available: bool = True  # it is in the catalogue
    visibility: str = "admin"  # public, organization, space (of the broker)


class ServicePlanVisibility(Record, frozen=True, kw_only=True):
    """An organization in which a plan can be used."""

    table: ClassVar[str] = "service_plan_visibilities"
    indexed: ClassVar[tuple[str, ...]] = ("service_plan_guid", "organization_guid")

    service_plan_guid: str
    organization_guid: str
