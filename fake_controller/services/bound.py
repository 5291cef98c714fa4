"""What apps are told of the services that are bound to them: VCAP_SERVICES."""

from __future__ import annotations

from typing import Any

from fake_controller.model import (
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceOffering,
    ServicePlan,
)
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
    instances = tx.find(ServiceInstance, guid=list(newest))
    of = {instance.guid: instance for instance in instances}
    plans = {plan.guid: plan for plan in tx.follow(instances, "service_plan")}
    offerings = {one.guid: one for one in tx.follow(list(plans.values()), "service_offering")}
    told = []
    for binding in sorted(newest.values(), key=lambda binding: binding.created_at):
        instance = of[binding.service_instance_guid]
        plan = plans.get(instance.service_plan_guid or "")
        offering = offerings[plan.service_offering_guid] if plan else None
        told.append(_what(instance, plan, offering) | _bound(binding, instance))
    return told


def _usable(binding: ServiceCredentialBinding) -> bool:
    """Whether it has been made; one that is being deleted, or could not be, still counts not."""
    return binding.last_operation.is_("create", "succeeded")


def _what(
    instance: ServiceInstance, plan: ServicePlan | None, offering: ServiceOffering | None
) -> Told:
    """What it is; of what a user provides there is less to tell."""
    name, tags = instance.name, list(instance.tags)
    if plan is None or offering is None:
        return {"label": "user-provided", "name": name, "tags": tags}
    return {
        "label": offering.name,
        "provider": None,
        "plan": plan.name,
        "name": name,
        "tags": list(dict.fromkeys([*offering.tags, *tags])),
    }


def _bound(binding: ServiceCredentialBinding, instance: ServiceInstance) -> Told:
    """What the binding gives; the order of the keys is Cloud Controller's."""
    return {
        "name": binding.name or instance.name,
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
