"""Service route bindings. Pure."""

from __future__ import annotations

from fake_controller.model import ServiceRouteBinding
from fake_controller.present.services import last_operation
from fake_controller.present.shape import Json, common, to_one


def service_route_binding(record: ServiceRouteBinding, base: str, managed: bool = False) -> Json:
    """A route and the service that its requests go through."""
    shown = common(record, base, "service_route_bindings")
    route, instance = record.route_guid, record.service_instance_guid
    shown["links"] |= {
        "service_instance": {"href": f"{base}/v3/service_instances/{instance}"},
        "route": {"href": f"{base}/v3/routes/{route}"},
    }
    if managed:
        own = f"{base}/v3/service_route_bindings/{record.guid}"
        shown["links"]["parameters"] = {"href": f"{own}/parameters"}
    return shown | {
        "route_service_url": record.route_service_url,
        "last_operation": last_operation(record.last_operation),
        "relationships": {"service_instance": to_one(instance), "route": to_one(route)},
    }
