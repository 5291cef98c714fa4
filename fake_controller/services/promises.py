"""What is promised to clients that only a broker can do: written down with the promise."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fake_controller.errors import CloudError
from fake_controller.events import Actor
from fake_controller.model import App, Job, ServiceErrand, ServiceInstance
from fake_controller.services.instances import operation
from fake_controller.services.places import Binding, Place
from fake_controller.store import Tx


def promise(
    tx: Tx,
    purpose: str,
    resource_guid: str,
    actor: Actor,
    *,
    job: str = "",
    within: str | None = None,
    **asked: Any,
) -> ServiceErrand:
    """An errand that must be run; with *job*, clients can see how it ends."""
    return tx.new(
        ServiceErrand,
        purpose=purpose,
        resource_guid=resource_guid,
        actor=asdict(actor),
        job_guid=tx.new(Job, operation=job).guid if job else None,
        within=within,
        asked=asked,
    )


def promise_deprovision(
    tx: Tx, instance: ServiceInstance, actor: Actor, *, job: str = ""
) -> ServiceErrand:
    """The deletion of a managed *instance*, and of all that is bound to it.

    Raises:
      CloudError: 422, something else is being done with it that cannot be overtaken.
    """
    latest = instance.last_operation
    if latest.unfinished and not latest.is_("create", "in progress"):
        raise CloudError(
            422,
            10008,
            "CF-UnprocessableEntity",
            "There is an operation in progress for the service instance.",
        )
    tx.change(instance, last_operation=operation(tx, "delete", "in progress"))
    return promise(tx, "deprovision", instance.guid, actor, job=job)


def promise_unbind(
    tx: Tx, binding: Binding, actor: Actor, *, job: str = "", within: str | None = None
) -> ServiceErrand:
    """The deletion of a *binding* to a managed instance.

    Raises:
      CloudError: 409, something else is being done with it that cannot be overtaken.
    """
    latest = binding.last_operation
    if latest.unfinished and not latest.is_("create", "in progress"):
        raise binding_in_progress(tx, binding)
    tx.change(binding, last_operation=operation(tx, "delete", "in progress"))
    related = {
        "service_instance_guid": binding.service_instance_guid,
        "app_guid": getattr(binding, "app_guid", None),
        "route_guid": getattr(binding, "route_guid", None),
    }
    return promise(tx, "unbind", binding.guid, actor, job=job, within=within, request=related)


def binding_in_progress(tx: Tx, binding: Binding) -> CloudError:
    """409: names the two that are bound."""
    instance = tx.need(ServiceInstance, binding.service_instance_guid)
    app = tx.get(App, getattr(binding, "app_guid", None))
    between = f"the service binding between app {app.name} and" if app else "a service binding of"
    return CloudError(
        409,
        90008,
        "CF-AsyncServiceBindingOperationInProgress",
        f"An operation for {between} service instance {instance.name} is in progress.",
    )


def promise_forgetting(
    tx: Tx, purpose: str, place: Place, actor: Actor, *, binding: str | None = None
) -> ServiceErrand:
    """That a broker is told to delete what may be left of something that failed."""
    return promise(
        tx,
        purpose,
        binding or place.instance.guid,
        actor,
        broker=place.broker.guid,
        instance=place.instance.guid,
        service_id=place.planned.service_id,
        plan_id=place.planned.plan_id,
    )
