"""The service instances that a manifest binds an app to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fake_controller.acting import Acting
from fake_controller.conditions import is_
from fake_controller.errors import CloudError, unprocessable
from fake_controller.manifest.payload import ServiceManifest
from fake_controller.model import (
    App,
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceInstanceShare,
)
from fake_controller.services.binding import Begun, bind_app


def bind_services(
    acting: Acting, app: App, wanted: Sequence[ServiceManifest]
) -> list[tuple[str, Begun]]:
    """Bind *app* to what it is not bound to yet; returns the new bindings by service.

    Raises:
      CloudError: 404, its space has no service instance of that name; 422, it cannot be bound.
    """
    begun = []
    for service in wanted:
        instance = visible(acting, app, service.name)
        if not _bound(acting, app, instance):
            begun.append((service.name, _bind(acting, app, instance, service)))
    return begun


def visible(acting: Acting, app: App, name: str) -> ServiceInstance:
    """The service instance that apps in the space of *app* know by *name*."""
    shares = acting.tx.find(ServiceInstanceShare, space_guid=app.space_guid)
    shared = [share.service_instance_guid for share in shares]
    instance = acting.tx.first(
        ServiceInstance, is_("space_guid", app.space_guid), name=name
    ) or acting.tx.first(ServiceInstance, name=name, guid=shared)
    if instance is None:
        raise CloudError(404, 10010, "CF-ResourceNotFound", f"Service instance '{name}' not found")
    return instance


def _bound(acting: Acting, app: App, instance: ServiceInstance) -> bool:
    """Whether it is; raises 422 when that is being changed, or could not be."""
    found = acting.tx.latest(
        ServiceCredentialBinding, app_guid=app.guid, service_instance_guid=instance.guid
    )
    if found is None:
        return False
    latest = found.last_operation
    if latest.unfinished:
        raise _refused(instance, f"A binding is being {latest.type}d. Retry this operation later.")
    if latest.is_("delete", "failed"):
        raise _refused(
            instance,
            "A binding failed to be deleted. Resolve the issue with this binding before retrying "
            "this operation.",
        )
    return latest.is_("create", "succeeded")


def _bind(acting: Acting, app: App, instance: ServiceInstance, wanted: ServiceManifest) -> Begun:
    related = {"service_instance_guid": instance.guid, "app_guid": app.guid}
    with told_of_service(instance.name):
        return bind_app(
            acting,
            app,
            instance,
            name=wanted.binding_name,
            parameters=wanted.parameters or None,
            request=related,
        )


@contextmanager
def told_of_service(name: str) -> Iterator[None]:
    """Every error in here says which service it is about."""
    try:
        yield
    except CloudError as error:
        detail = f"For service '{name}': {error}"
        raise CloudError(error.http, error.number, error.title, detail) from error


def _refused(instance: ServiceInstance, why: str) -> CloudError:
    return unprocessable(f"For service '{instance.name}': {why}")
