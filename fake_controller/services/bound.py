"""What apps are told of the services that are bound to them: VCAP_SERVICES."""

from __future__ import annotations

from typing import Any

from fake_controller.model import ServiceCredentialBinding, ServiceInstance
from fake_controller.store import Tx

Told = dict[str, Any]
MOUNT_KEYS = ("container_dir", "mode", "device_type")


def bound_services(tx: Tx, app_guid: str) -> list[Told]:
    """What the app is told of each bound service, as start orders carry it.

    Of several bindings to one instance the newest counts: the others are about to be removed.
    """
    newest = {
        binding.service_instance_guid: binding
        for binding in tx.find(ServiceCredentialBinding, app_guid=app_guid)
        if _usable(binding)
    }
    instances = {one.guid: one for one in tx.find(ServiceInstance, guid=list(newest))}
    bindings = sorted(newest.values(), key=lambda binding: binding.created_at)
    return [
        bound_service(binding, instances[binding.service_instance_guid]) for binding in bindings
    ]


def _usable(binding: ServiceCredentialBinding) -> bool:
    """Whether it has been made; one that is being deleted, or could not be, still counts not."""
    return binding.last_operation.is_("create", "succeeded")


def bound_service(binding: ServiceCredentialBinding, instance: ServiceInstance) -> Told:
    """One bound service; the order of the keys is Cloud Controller's."""
    return {
        "label": "user-provided",
        "name": binding.name or instance.name,
        "tags": list(instance.tags),
        "instance_guid": instance.guid,
        "instance_name": instance.name,
        "binding_guid": binding.guid,
        "binding_name": binding.name,
        "credentials": binding.credentials,
        "syslog_drain_url": binding.syslog_drain_url,
        "volume_mounts": [
            {key: mount[key] for key in MOUNT_KEYS if key in mount}
            for mount in binding.volume_mounts
        ],
    }
