"""Which bindings and keys may be made; those of services that users provide are made at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fake_controller.acting import Acting
from fake_controller.consumption import check_service_key
from fake_controller.errors import CloudError, unprocessable
from fake_controller.events import Actor
from fake_controller.model import (
    UNFINISHED,
    App,
    ServiceCredentialBinding,
    ServiceErrand,
    ServiceInstance,
    ServiceInstanceShare,
)
from fake_controller.services.instances import operation
from fake_controller.services.places import Binding, place_of
from fake_controller.services.promises import promise, promise_forgetting
from fake_controller.store import Tx

NAME_MOST = 255  # characters
NAME = re.compile(r"[\w-]+")
#: Bindings of one app to one instance; more than one exist while credentials are renewed.
BINDINGS_MOST = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """A new binding, and the errands that are to be run for it."""

    binding: Binding
    errand: ServiceErrand | None = None  # makes it at its broker; None: it is made
    leftovers: tuple[ServiceErrand, ...] = ()  # of attempts that it takes the place of

    @property
    def errands(self) -> list[ServiceErrand]:
        """All of them."""
        return [*self.leftovers, *([self.errand] if self.errand else [])]


def bind_app(
    acting: Acting,
    app: App,
    instance: ServiceInstance,
    *,
    name: str | None = None,
    strategy: str | None = None,
    parameters: dict[str, Any] | None = None,
    request: Mapping[str, Any],
    **labels: Any,
) -> Begun:
    """Bind *app* to *instance*: at once, or as soon as the errand has been run.

    Raises:
      CloudError: 422, with the reason.
    """
    tx = acting.tx
    if not instance.managed and parameters is not None:
        raise unprocessable(
            "Binding parameters are not supported for user-provided service instances"
        )
    _check_together(tx, app, instance)
    if instance.managed:
        _check_managed(tx, instance)
    _check_name(name)
    existing = tx.find(
        ServiceCredentialBinding, service_instance_guid=instance.guid, app_guid=app.guid
    )
    failed = [one for one in existing if one.last_operation.is_("create", "failed")]
    _check_beside([one for one in existing if one not in failed], name, strategy)
    _check_unique(tx, app, instance, name)
    leftovers = make_room(tx, failed, acting.actor)
    values = {
        "type": "app",
        "name": name or None,
        "service_instance_guid": instance.guid,
        "app_guid": app.guid,
        **labels,
    }
    if instance.managed:
        made = tx.new(
            ServiceCredentialBinding, **values, last_operation=operation(tx, "create", "initial")
        )
        return Begun(
            binding=made,
            errand=promise(
                tx,
                "bind",
                made.guid,
                acting.actor,
                job="service_bindings.create",
                parameters=parameters,
                request=dict(request),
            ),
            leftovers=leftovers,
        )
    made = tx.new(
        ServiceCredentialBinding,
        **values,
        credentials=instance.credentials,
        syslog_drain_url=(instance.syslog_drain_url or "").replace(",", "%2c") or None,
        last_operation=operation(tx, "create"),
    )
    acting.audit("audit.service_binding.create", made, {"request": dict(request)})
    return Begun(binding=made)


def make_key(
    acting: Acting,
    instance: ServiceInstance,
    name: str,
    *,
    parameters: dict[str, Any] | None = None,
    request: Mapping[str, Any],
    **labels: Any,
) -> Begun:
    """A key to *instance*, which must be at a broker.

    Raises:
      CloudError: 422, with the reason.
    """
    tx = acting.tx
    if not instance.managed:
        raise unprocessable(
            "Service credential bindings of type 'key' are not supported for "
            "user-provided service instances."
        )
    _check_managed(tx, instance, end=".")
    existing = tx.find(
        ServiceCredentialBinding, service_instance_guid=instance.guid, type="key", name=name
    )
    for key in existing:
        if key.last_operation.is_("create", "failed"):
            continue
        text = "The binding name is invalid. Key binding names must be unique. "
        if key.last_operation.type == "delete":
            text += (
                f"The service instance already has a key binding with the name '{name}' that is "
                "getting deleted or its deletion failed."
            )
        else:
            text += f"The service instance already has a key binding with name '{name}'."
        raise unprocessable(text)
    leftovers = make_room(tx, existing, acting.actor)
    made = tx.new(
        ServiceCredentialBinding,
        type="key",
        name=name,
        service_instance_guid=instance.guid,
        last_operation=operation(tx, "create", "initial"),
        **labels,
    )
    check_service_key(tx, instance)
    return Begun(
        binding=made,
        errand=promise(
            tx,
            "bind",
            made.guid,
            acting.actor,
            job="service_keys.create",
            parameters=parameters,
            request=dict(request),
        ),
        leftovers=leftovers,
    )


def make_room(tx: Tx, failed: Iterable[Binding], actor: Actor) -> tuple[ServiceErrand, ...]:
    """Forget bindings whose creation failed; the errands have their broker forget them, too."""
    errands = []
    for binding in failed:
        place = place_of(tx, tx.need(ServiceInstance, binding.service_instance_guid))
        errands.append(promise_forgetting(tx, "forget-binding", place, actor, binding=binding.guid))
        tx.delete(binding)
    return tuple(errands)


def _check_together(tx: Tx, app: App, instance: ServiceInstance) -> None:
    """Raises 422 unless *instance* can be used in the space of *app*."""
    if app.space_guid != instance.space_guid and not tx.first(
        ServiceInstanceShare, service_instance_guid=instance.guid, space_guid=app.space_guid
    ):
        raise unprocessable("The service instance and the app are in different spaces")


def _check_managed(tx: Tx, instance: ServiceInstance, *, end: str = "") -> None:
    """Raises 422 unless there can be a binding to *instance*, which is at a broker, now."""
    place = place_of(tx, instance)
    if not place.bindable:
        raise unprocessable(f"Service plan does not allow bindings{end}")
    if "volume_mount" in place.offering.requires:
        raise unprocessable(f"Support for volume mount services is disabled{end}")
    if instance.last_operation.is_("create", "failed"):
        raise unprocessable("Service instance not found")
    if instance.last_operation.unfinished:
        raise unprocessable("There is an operation in progress for the service instance")


def _check_name(name: str | None) -> None:
    if not name:
        return
    if len(name) > NAME_MOST:
        raise unprocessable(
            "The binding name is invalid. App binding names must be less than 256 characters."
        )
    if not NAME.fullmatch(name):
        raise unprocessable(
            "The binding name is invalid. Valid characters are alphanumeric, underscore, and dash."
        )


def _check_beside(
    existing: Iterable[ServiceCredentialBinding], name: str | None, strategy: str | None
) -> None:
    """Raises 422 where another binding called *name* cannot be made beside the *existing*."""
    bindings = list(existing)
    if strategy != "multiple" and any(
        one.last_operation.is_("create", "succeeded", *UNFINISHED) for one in bindings
    ):
        raise unprocessable("The app is already bound to the service instance")
    for binding in bindings:
        latest = binding.last_operation
        if latest.is_("create", *UNFINISHED):
            raise unprocessable(
                "There is already a binding in progress for this service instance and app "
                f"(binding guid: {binding.guid})"
            )
        if latest.type == "delete":
            raise unprocessable(
                "A binding for this service instance and app is getting deleted or its deletion "
                "failed"
            )
        if binding.name != (name or None):
            raise unprocessable(
                "The binding name cannot be changed for the same app and service instance"
            )
    if len(bindings) >= BINDINGS_MOST:
        raise unprocessable(
            "The app has too many bindings to this service instance "
            f"(limit: {BINDINGS_MOST}). Consider deleting existing/orphaned bindings."
        )


def _check_unique(tx: Tx, app: App, instance: ServiceInstance, name: str | None) -> None:
    """Raises 422 where *app* has a binding of that name to another instance."""
    others = tx.find(ServiceCredentialBinding, app_guid=app.guid, name=name) if name else []
    if any(other.service_instance_guid != instance.guid for other in others):
        raise unprocessable(
            "The binding name is invalid. Binding names must be unique for a given service "
            f"instance and app. The app already has a binding with name '{name}'."
        )


def check_unbinding(tx: Tx, binding: Binding) -> ServiceInstance:
    """The instance that *binding* is to.

    Raises:
      CloudError: 422 while something else is being done with one of the two.
    """
    latest = binding.last_operation
    if latest.unfinished and not latest.is_("create", "in progress"):
        raise unprocessable("There is an operation in progress for the service binding.")
    instance = tx.need(ServiceInstance, binding.service_instance_guid)
    if instance.last_operation.unfinished:
        raise unprocessable("There is an operation in progress for the service instance.")
    return instance


def check_made(binding: Binding, what: str) -> None:
    """Raises 404 unless *binding* can be used; *what* it is called."""
    latest = binding.last_operation
    if not latest.is_("create", "succeeded"):
        begun = "Creation" if latest.type == "create" else "Deletion"
        text = f"{begun} of {what} {latest.state}"
        raise CloudError(404, 10010, "CF-ResourceNotFound", text)
