"""Service instances and bindings. Pure."""

from __future__ import annotations

from fake_controller.model import (
    Operation,
    ServiceCredentialBinding,
    ServiceInstance,
    ServicePlan,
)
from fake_controller.present.shape import Json, common, timestamp, to_one


def last_operation(latest: Operation) -> Json:
    """The latest operation of an instance or a binding."""
    return {
        "type": latest.type,
        "state": latest.state,
        "description": latest.description,
        "created_at": timestamp(latest.created_at),
        "updated_at": timestamp(latest.updated_at),
    }


def service_instance(record: ServiceInstance, base: str, plan: ServicePlan | None = None) -> Json:
    """A service instance; *plan* is that of one which a broker has."""
    shown = common(record, base, "service_instances")
    of_it = f"service_instance_guids={record.guid}"
    relationships = {"space": to_one(record.space_guid)}
    shown["links"] |= {
        "space": {"href": f"{base}/v3/spaces/{record.space_guid}"},
        "service_credential_bindings": {"href": f"{base}/v3/service_credential_bindings?{of_it}"},
        "service_route_bindings": {"href": f"{base}/v3/service_route_bindings?{of_it}"},
    }
    shown |= {
        "name": record.name,
        "tags": list(record.tags),
        "last_operation": last_operation(record.last_operation),
        "type": record.type,
        "relationships": relationships,
    }
    own = f"{base}/v3/service_instances/{record.guid}"
    if plan is None:
        shown["links"]["credentials"] = {"href": f"{own}/credentials"}
        return shown | {
            "syslog_drain_url": record.syslog_drain_url,
            "route_service_url": record.route_service_url,
        }
    relationships["service_plan"] = to_one(plan.guid)
    shown["links"] |= {
        "service_plan": {"href": f"{base}/v3/service_plans/{plan.guid}"},
        "parameters": {"href": f"{own}/parameters"},
        "shared_spaces": {"href": f"{own}/relationships/shared_spaces"},
    }
    info, newest = record.maintenance_info or {}, plan.maintenance_info or {}
    if record.broker_metadata:
        shown["broker_provided_metadata"] = record.broker_metadata
    return shown | {
        "maintenance_info": info,
        "upgrade_available": info.get("version") != newest.get("version"),
        "dashboard_url": record.dashboard_url,
    }


def service_credential_binding(
    record: ServiceCredentialBinding, base: str, managed: bool = False
) -> Json:
    """A binding or a key, without its credentials."""
    shown = common(record, base, "service_credential_bindings")
    own = f"{base}/v3/service_credential_bindings/{record.guid}"
    instance = record.service_instance_guid
    shown["links"] |= {
        "details": {"href": f"{own}/details"},
        "service_instance": {"href": f"{base}/v3/service_instances/{instance}"},
    }
    if managed:
        shown["links"]["parameters"] = {"href": f"{own}/parameters"}
    relationships: Json = {"service_instance": to_one(instance)}
    if record.app_guid:
        shown["links"]["app"] = {"href": f"{base}/v3/apps/{record.app_guid}"}
        relationships["app"] = to_one(record.app_guid)
    return shown | {
        "name": record.name,
        "type": record.type,
        "last_operation": last_operation(record.last_operation),
        "relationships": relationships,
    }


def service_credential_binding_details(record: ServiceCredentialBinding) -> Json:
    """What a binding or a key gives access with."""
    shown: Json = {"credentials": record.credentials}
    if record.syslog_drain_url:
        shown["syslog_drain_url"] = record.syslog_drain_url
    if record.volume_mounts:
        shown["volume_mounts"] = list(record.volume_mounts)
    return shown
