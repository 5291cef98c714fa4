"""Service brokers: how they are asked, registered, changed and forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from appliance.kernel.errors import ApplianceError
from fake_controller.broker.client import Broker
from fake_controller.conditions import is_
from fake_controller.controller import Controller
from fake_controller.errors import CloudError, unprocessable
from fake_controller.model import ServiceBroker, ServiceInstance, ServiceOffering
from fake_controller.services.marketplace import delete_offering, synchronize
from fake_controller.store import Tx

AVAILABLE, SYNCHRONIZING = "AVAILABLE", "SYNCHRONIZING"
DELETING, FAILED = "DELETE_IN_PROGRESS", "SYNCHRONIZATION_FAILED"


def client_of(cc: Controller, broker: ServiceBroker, user_guid: str) -> Broker:
    """Asks *broker* on behalf of a user."""
    return Broker(
        http=cc.kit.http,
        ids=cc.kit.ids,
        url=broker.url,
        username=broker.username,
        password=broker.password,
        timeout=cc.config.broker_timeout,
        api=urlsplit(cc.config.external_url or cc.url).netloc,
        user_guid=user_guid,
    )


def check_broker(tx: Tx, name: str | None, url: str | None, *, itself: str = "") -> None:
    """Raises 422 where a broker cannot have this name or address; None is not looked at."""
    if name is not None:
        if not name:
            raise unprocessable("Name must not be empty string")
        known = tx.first(ServiceBroker, name=name)
        if known is not None and known.guid != itself:
            raise unprocessable("Name must be unique")
    if url is not None:
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise unprocessable(f"Url '{url}' must be a valid url")
        if parts.username is not None:
            raise unprocessable("Url must not contain authentication")


async def synchronize_broker(
    cc: Controller, guid: str, changes: Mapping[str, Any], user_guid: str, *, after_failure: str
) -> list[str]:
    """Change a broker as soon as its catalogue, with *changes* made, has been taken.

    Returns warnings. When that fails the broker stays as it is, in the state *after_failure*.

    Raises:
      BrokerError: it does not answer, or its catalogue is wrong.
    """
    broker = await cc.store.get(ServiceBroker, guid)
    try:
        if changes.keys() == {"name"}:
            catalog = None
        else:
            catalog = await client_of(cc, replace(broker, **changes), user_guid).catalog()

        def take(tx: Tx) -> list[str]:
            changed = tx.change(tx.need(ServiceBroker, guid), **changes, state=AVAILABLE)
            return [] if catalog is None else synchronize(tx, changed, catalog)

        return await cc.store.write(take)
    except ApplianceError:
        await cc.store.write(lambda tx: _set_state(tx, guid, after_failure))
        raise


def _set_state(tx: Tx, guid: str, state: str) -> None:
    if broker := tx.get(ServiceBroker, guid):
        tx.change(broker, state=state)


def check_removable(tx: Tx, broker: ServiceBroker) -> None:
    """Raises while there are instances at the broker."""
    at = is_("service_plan.service_offering.service_broker_guid", broker.guid)
    if tx.first(ServiceInstance, at):
        raise CloudError(
            422,
            270010,
            "CF-ServiceBrokerNotRemovable",
            f"Can not remove brokers that have associated service instances: {broker.name}",
        )


def delete_broker(tx: Tx, guid: str) -> None:
    """Forget a broker and what it offers."""
    broker = tx.need(ServiceBroker, guid)
    check_removable(tx, broker)
    for offering in tx.find(ServiceOffering, service_broker_guid=guid):
        delete_offering(tx, offering)
    tx.delete(broker)


def settle_brokers(tx: Tx) -> None:
    """At a start: what was going on with a broker has ended with the process before."""
    for broker in tx.find(ServiceBroker, state=SYNCHRONIZING):
        tx.change(broker, state=FAILED)
    for broker in tx.find(ServiceBroker, state=DELETING):
        tx.change(broker, state=AVAILABLE)
