"""Which bindings and keys may be made, and those of services that users provide themselves."""

from __future__ import annotations

import re
from typing import Any

from fake_controller.errors import CloudError, unprocessable
from fake_controller.model import (
    UNFINISHED,
    App,
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceInstanceShare,
)
from fake_controller.services.instances import operation
from fake_controller.store import Tx

NAME_MOST = 255  # characters
NAME = re.compile(r"[\w-]+")
#: Bindings of one app to one instance; more than one exist while credentials are renewed.
BINDINGS_MOST = 5


def bind_user_provided(
    tx: Tx,
    app: App,
    instance: ServiceInstance,
    *,
    name: str | None = None,
    strategy: str | None = None,
    **values: Any,
) -> ServiceCredentialBinding:
    """Bind *app* to *instance*, which no broker knows; *values* are labels and annotations."""
    check_app_binding(tx, app, instance, name=name, strategy=strategy)
    return tx.new(
        ServiceCredentialBinding,
        type="app",
        name=name or None,
        service_instance_guid=instance.guid,
        app_guid=app.guid,
        credentials=instance.credentials,
        syslog_drain_url=(instance.syslog_drain_url or "").replace(",", "%2c") or None,
        last_operation=operation(tx, "create"),
        **values,
    )


def check_app_binding(
    tx: Tx, app: App, instance: ServiceInstance, *, name: str | None, strategy: str | None
) -> None:
    """Raises 422 where *app* cannot be bound to *instance* under *name*."""
    if app.space_guid != instance.space_guid and not tx.first(
        ServiceInstanceShare, service_instance_guid=instance.guid, space_guid=app.space_guid
    ):
        raise unprocessable("The service instance and the app are in different spaces")
    _check_name(name)
    existing = tx.find(
        ServiceCredentialBinding, service_instance_guid=instance.guid, app_guid=app.guid
    )
    if strategy != "multiple" and any(
        one.last_operation.is_("create", "succeeded", *UNFINISHED) for one in existing
    ):
        raise already_bound()
    for binding in existing:
        _check_beside(binding, name)
    if len(existing) >= BINDINGS_MOST:
        raise unprocessable(
            "The app has too many bindings to this service instance "
            f"(limit: {BINDINGS_MOST}). Consider deleting existing/orphaned bindings."
        )
    others = tx.find(ServiceCredentialBinding, app_guid=app.guid, name=name) if name else []
    if any(other.service_instance_guid != instance.guid for other in others):
        raise unprocessable(
            "The binding name is invalid. Binding names must be unique for a given service "
            f"instance and app. The app already has a binding with name '{name}'."
        )


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


def _check_beside(binding: ServiceCredentialBinding, name: str | None) -> None:
    """Raises 422 where another binding called *name* cannot be made beside *binding*."""
    latest = binding.last_operation
    if latest.is_("create", *UNFINISHED):
        raise unprocessable(
            "There is already a binding in progress for this service instance and app "
            f"(binding guid: {binding.guid})"
        )
    if latest.type == "delete":
        raise unprocessable(
            "A binding for this service instance and app is getting deleted or its deletion failed"
        )
    if binding.name != (name or None):
        raise unprocessable(
            "The binding name cannot be changed for the same app and service instance"
        )


def already_bound() -> CloudError:
    """422; the CLI takes it for done."""
    return unprocessable("The app is already bound to the service instance")
