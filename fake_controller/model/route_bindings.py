"""Services that requests of a route go through."""

from __future__ import annotations

from typing import ClassVar

from fake_controller.model.record import Record
from fake_controller.model.services import Operation


class ServiceRouteBinding(Record, frozen=True, kw_only=True):
    """Requests of a route go to a service instance first, which sends them on."""

    table: ClassVar[str] = "service_route_bindings"
    indexed: ClassVar[tuple[str, ...]] = ("route_guid", "service_instance_guid")

    route_guid: str
    service_instance_guid: str
    route_service_url: str | None = None  # not known before its broker has told it
    last_operation: Operation
