"""Service instances and bindings. Pure."""

from __future__ import annotations

from fake_controller.model import Operation, ServiceCredentialBinding, ServiceInstance
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


def service_instance(record: ServiceInstance, base: str) -> Json:
    """A service instance of either type."""
    shown = common(record, base, "service_instances")
    own = f"{base}/v3/service_instances/{record.guid}"
    of_it = f"service_instance_guids={record.guid}"
    shown["links"] |= {
        "space": {"href": f"{base}/v3/spaces/{record.space_guid}"},
        "service_credential_bindings": {"href": f"{base}/v3/service_credential_bindings?{of_it}"},
        "service_route_bindings": {"href": f"{base}/v3/service_route_bindings?{of_it}"},
        "credentials": {"href": f"{own}/credentials"},
    }
    return shown | {
        "name": record.name,
        "tags": list(record.tags),
        "last_operation": last_operation(record.last_operation),
        "type": record.type,
        "syslog_drain_url": record.syslog_drain_url,
        "route_service_url": record.route_service_url,
        "relationships": {"space": to_one(record.space_guid)},
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
