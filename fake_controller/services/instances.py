"""What service instances may be called and hold, and those that users provide themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fake_controller.errors import unprocessable
from fake_controller.model import (
    Operation,
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceInstanceShare,
    ServiceRouteBinding,
)
from fake_controller.store import Tx

NAME_MOST = 255  # characters
TAGS_MOST = 2048  # characters, all together
DONE = "Operation succeeded"


def operation(
    tx: Tx,
    type_: str,
    state: str = "succeeded",
    description: str | None = None,
    *,
    before: Operation | None = None,
    broker_operation: str | None = None,
) -> Operation:
    """The latest operation of a record; *before* is the one that it goes on from, if it does."""
    now = tx.clock.time()
    same = before is not None and before.type == type_ and before.unfinished
    return Operation(
        type=type_,
        state=state,
        description=description,
        created_at=before.created_at if before and same else now,
        updated_at=now,
        broker_operation=broker_operation,
    )


def check_name(tx: Tx, name: str, space_guid: str) -> None:
    """Names are unique among the instances of a space and those that are shared with it.

    Raises:
      CloudError: 422; the CLI knows the sentence of a name that is taken.
    """
    if not name.strip():
        raise unprocessable("Name can't be blank")
    if len(name) > NAME_MOST:
        raise unprocessable(
            "You have requested an invalid service instance name. "
            f"Names are limited to {NAME_MOST} characters."
        )
    shared = [s.service_instance_guid for s in tx.find(ServiceInstanceShare, space_guid=space_guid)]
    if tx.first(ServiceInstance, space_guid=space_guid, name=name) or (
        shared and tx.first(ServiceInstance, guid=shared, name=name)
    ):
        raise unprocessable(f"The service instance name is taken: {name}.")


def check_tags(name: str, tags: Iterable[str]) -> tuple[str, ...]:
    """*tags* of the instance *name*, which are short enough all together."""
    kept = tuple(tags)
    if sum(map(len, kept)) > TAGS_MOST:
        raise unprocessable(
            f"Combined length of tags for service {name} must be {TAGS_MOST} characters or less."
        )
    return kept


def check_urls(syslog_drain_url: str | None, route_service_url: str | None) -> None:
    """The two addresses that an instance of a user may name."""
    if syslog_drain_url and not _is_uri(syslog_drain_url):
        raise unprocessable("Syslog drain url must be a valid URI")
    if not route_service_url:
        return
    if not _is_uri(route_service_url):
        raise unprocessable("Route service url must be a valid URI")
    if not route_service_url.startswith("https:"):
        raise unprocessable("Route service url must be https")


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # a number that is none shows only now
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not any(map(str.isspace, text))


def create_user_provided(tx: Tx, name: str, space_guid: str, **values: Any) -> ServiceInstance:
    """A new instance that no broker knows; *values* are checked here."""
    check_name(tx, name, space_guid)
    check_urls(values.get("syslog_drain_url"), values.get("route_service_url"))
    return tx.new(
        ServiceInstance,
        type="user-provided",
        name=name,
        space_guid=space_guid,
        tags=check_tags(name, values.pop("tags", ())),
        last_operation=operation(tx, "create", description=DONE),
        **values,
    )


def change_user_provided(
    tx: Tx, instance: ServiceInstance, changes: Mapping[str, Any]
) -> ServiceInstance:
    """Change what *changes* names; apps are told of new credentials at their next start."""
    name = changes.get("name", instance.name)
    if name != instance.name:
        check_name(tx, name, instance.space_guid)
    check_urls(changes.get("syslog_drain_url"), changes.get("route_service_url"))
    if "tags" in changes:
        check_tags(name, changes["tags"])
    told = {key: changes[key] for key in ("credentials", "syslog_drain_url") if key in changes}
    if told:
        for binding in tx.find(ServiceCredentialBinding, service_instance_guid=instance.guid):
            tx.change(binding, **told)
    if "route_service_url" in changes:
        for route in tx.find(ServiceRouteBinding, service_instance_guid=instance.guid):
            if url := changes["route_service_url"]:
                tx.change(route, route_service_url=url)
            else:  # nothing can be bound to it any more
                tx.delete(route)
    return tx.change(instance, **changes, last_operation=operation(tx, "update", description=DONE))


def delete_instance(tx: Tx, instance: ServiceInstance) -> list[str]:
    """Forget *instance*, its bindings, its keys and whom it is shared with.

    Returns the routes that went through it.
    """
    routes = tx.find(ServiceRouteBinding, service_instance_guid=instance.guid)
    for kind in (ServiceRouteBinding, ServiceCredentialBinding, ServiceInstanceShare):
        for record in tx.find(kind, service_instance_guid=instance.guid):
            tx.delete(record)
    tx.delete(instance)
    return [binding.route_guid for binding in routes]
