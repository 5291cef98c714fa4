"""What may be done with instances at brokers, and what only a broker can do of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fake_controller.acting import Acting
from fake_controller.consumption import check_service_instance
from fake_controller.errors import CloudError, unprocessable
from fake_controller.model import (
    ServiceBroker,
    ServiceCredentialBinding,
    ServiceErrand,
    ServiceInstance,
    ServiceInstanceShare,
    ServiceOffering,
    ServicePlan,
    Space,
)
from fake_controller.services.brokers import AVAILABLE
from fake_controller.services.instances import (
    check_name,
    check_tags,
    delete_instance,
    operation,
)
from fake_controller.services.marketplace import usable_in
from fake_controller.services.places import Place, place_of
from fake_controller.services.promises import promise, promise_forgetting
from fake_controller.store import Tx

SEMVER = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")


def check_plan(acting: Acting, guid: str, space: Space) -> ServicePlan:
    """The plan *guid*, of which there can be instances in *space*.

    Raises:
      CloudError: 422, with the reason.
    """
    plan = acting.sees(ServicePlan, guid)
    if plan is None:
        raise unprocessable(
            "Invalid service plan. Ensure that the service plan exists, is available, "
            "and you have access to it."
        )
    if not plan.available:
        raise unprocessable(
            f"Invalid service plan. The service plan '{plan.name}' with guid '{plan.guid}' has "
            "been removed from the service broker's catalog. It is not possible to create new "
            "service instances using this plan."
        )
    if not usable_in(acting.tx, plan, space):
        raise unprocessable(
            "Invalid service plan. This could be due to a space-scoped broker which is offering "
            f"the service plan '{plan.name}' with guid '{plan.guid}' in another space or that the "
            "plan is not enabled in this organization. Ensure that the service plan is visible in "
            f"your current space '{space.name}' with guid '{space.guid}'."
        )
    return plan


def create_managed(
    acting: Acting,
    name: str,
    space: Space,
    plan: ServicePlan,
    parameters: dict[str, Any] | None,
    request: Mapping[str, Any],
    **values: Any,
) -> tuple[ServiceErrand, list[ServiceErrand]]:
    """A new instance, and the errands that make it: the first one is its own.

    One of the same name whose creation failed makes room for it.
    """
    tx = acting.tx
    offering = tx.need(ServiceOffering, plan.service_offering_guid)
    if tx.need(ServiceBroker, offering.service_broker_guid).state != AVAILABLE:
        raise unprocessable(
            "The service instance cannot be created because there is an operation in progress "
            "for the service broker."
        )
    before = tx.first(ServiceInstance, space_guid=space.guid, name=name, type="managed")
    leftovers = []
    if before is not None and before.last_operation.is_("create", "failed"):
        leftovers.append(
            promise_forgetting(tx, "forget-instance", place_of(tx, before), acting.actor)
        )
        delete_instance(tx, before)
    check_name(tx, name, space.guid)
    made = tx.new(
        ServiceInstance,
        type="managed",
        name=name,
        space_guid=space.guid,
        service_plan_guid=plan.guid,
        maintenance_info=plan.maintenance_info,
        tags=check_tags(name, values.pop("tags", ())),
        last_operation=operation(tx, "create", "initial"),
        **values,
    )
    check_service_instance(tx, made, paid=not plan.free)
    errand = promise(
        tx,
        "provision",
        made.guid,
        acting.actor,
        job="service_instance.create",
        parameters=parameters,
        request=dict(request),
    )
    return errand, leftovers


def check_update(
    acting: Acting, place: Place, changes: Mapping[str, Any], parameters: dict[str, Any] | None
) -> None:
    """Raises where *changes* cannot be made; in Cloud Controller's order."""
    tx, instance = acting.tx, place.instance
    if instance.last_operation.is_("create", "failed"):
        raise CloudError(
            404,
            60004,
            "CF-ServiceInstanceNotFound",
            f"The service instance could not be found: {instance.name}",
        )
    name = changes.get("name")
    if name and name != instance.name:
        check_name(tx, name, instance.space_guid)
    if "tags" in changes:
        check_tags(instance.name, changes["tags"])
    if name and tx.first(ServiceInstanceShare, service_instance_guid=instance.guid):
        raise unprocessable("Service instances that have been shared cannot be renamed")
    new_plan = changes.get("service_plan_guid")
    if new_plan:
        _check_new_plan(acting, place, new_plan)
    version = (changes.get("maintenance_info") or {}).get("version")
    if version:
        _check_version(place, version, new_plan)
    if not place.plan.available:
        _check_inaccessible(place, name, version, parameters)


def _check_new_plan(acting: Acting, place: Place, guid: str) -> None:
    plan = check_plan(acting, guid, place.space)
    check_service_instance(acting.tx, place.instance, paid=not plan.free)
    if plan.service_offering_guid != place.offering.guid:
        text = "service plan relates to a different service offering"
        raise CloudError(400, 1002, "CF-InvalidRelation", text)
    if not place.plan_updateable:
        raise unprocessable("The service does not support changing plans.")
    bound = acting.tx.first(ServiceCredentialBinding, service_instance_guid=place.instance.guid)
    if bound and not place.on(plan).bindable:
        raise unprocessable(
            "The service plan is invalid: cannot switch to non-bindable plan when service "
            "bindings exist"
        )


def _check_version(place: Place, version: str, new_plan: str | None) -> None:
    if not SEMVER.fullmatch(version):
        raise unprocessable("maintenance_info.version should be a semantic version.")
    if new_plan and new_plan != place.plan.guid:
        raise unprocessable(
            "maintenance_info should not be changed when switching to different plan."
        )
    if not place.plan.maintenance_info:
        raise unprocessable(
            "The service broker does not support upgrades for service instances created from "
            "this plan."
        )
    known = (place.plan.maintenance_info, place.instance.maintenance_info or {})
    if version not in (info.get("version") for info in known):
        raise unprocessable(
            "maintenance_info.version requested is invalid. Please ensure the catalog is up to "
            "date and you are providing a version supported by this service plan."
        )


def _check_inaccessible(
    place: Place, name: str | None, version: str | None, parameters: dict[str, Any] | None
) -> None:
    current = (place.instance.maintenance_info or {}).get("version")
    for what, wrong in (
        ("parameters", parameters is not None),
        ("name", place.offering.allow_context_updates and name is not None),
        ("maintenance_info", version is not None and version != current),
    ):
        if wrong:
            raise unprocessable(
                f"Cannot update {what} of a service instance that belongs to inaccessible plan"
            )


def update_managed(
    acting: Acting,
    instance: ServiceInstance,
    changes: dict[str, Any],
    parameters: dict[str, Any] | None,
    request: Mapping[str, Any],
) -> ServiceErrand | None:
    """Change *instance*: at once, or by the errand that is returned.

    Raises:
      CloudError: 409, something else is being done with it.
    """
    tx, place = acting.tx, place_of(acting.tx, instance)
    check_update(acting, place, changes, parameters)
    only_labels = changes.keys() <= {"labels", "annotations"}
    if instance.last_operation.unfinished and (
        not only_labels or instance.last_operation.type == "delete"
    ):
        raise instance_in_progress(instance)
    if _needs_broker(place, changes, parameters):
        tx.change(instance, last_operation=operation(tx, "update", "in progress"))
        return promise(
            tx,
            "update",
            instance.guid,
            acting.actor,
            job="service_instance.update",
            parameters=parameters,
            changes=_with_version(tx, place, changes),
            request=dict(request),
        )
    if not only_labels:
        changes = {**changes, "last_operation": operation(tx, "update", description="")}
    acting.audit("audit.service_instance.update", instance, {"request": dict(request)})
    tx.change(instance, **changes)
    return None


def _needs_broker(
    place: Place, changes: Mapping[str, Any], parameters: dict[str, Any] | None
) -> bool:
    """Whether the broker must be asked, or need not even know."""
    current = (place.instance.maintenance_info or {}).get("version")
    version = (changes.get("maintenance_info") or {}).get("version")
    return (
        parameters is not None
        or ("name" in changes and place.offering.allow_context_updates)
        or changes.get("service_plan_guid") not in (None, place.plan.guid)
        or version not in (None, current)
    )


def _with_version(tx: Tx, place: Place, changes: Mapping[str, Any]) -> dict[str, Any]:
    """*changes*, with the version that a new plan has now."""
    guid = changes.get("service_plan_guid")
    if guid in (None, place.plan.guid):
        return dict(changes)
    info = tx.need(ServicePlan, guid).maintenance_info
    version = {"version": info["version"]} if info else None
    return {**changes, "maintenance_info": version}


def instance_in_progress(instance: ServiceInstance) -> CloudError:
    """409: one thing at a time."""
    return CloudError(
        409,
        60016,
        "CF-AsyncServiceInstanceOperationInProgress",
        f"An operation for service instance {instance.name} is in progress.",
    )
