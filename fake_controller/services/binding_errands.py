"""Errands to brokers about bindings: of apps, of routes, and keys."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from appliance.kernel.errors import ApplianceError
from fake_controller.broker.answers import Bound, Progress
from fake_controller.broker.errors import BrokerError, Concurrency
from fake_controller.controller import Controller
from fake_controller.errors import CloudError
from fake_controller.model import (
    Operation,
    ServiceErrand,
    ServiceInstance,
    ServiceRouteBinding,
)
from fake_controller.services.errand import Errand, unable
from fake_controller.services.instances import operation
from fake_controller.services.places import Binding, Place, bind_resource, find_binding, place_of
from fake_controller.store import Tx


class BindingErrand(Errand):
    """An errand about a binding."""

    def __init__(
        self, cc: Controller, promised: ServiceErrand, place: Place, binding: Binding
    ) -> None:
        super().__init__(cc, promised, place)
        self.binding = binding

    @property
    def event(self) -> str:
        """Each kind of binding has its own."""
        return f"audit.{event_of(self.binding)}"

    def subject(self, tx: Tx) -> Binding | None:
        """The binding."""
        return find_binding(tx, self.binding.guid)

    async def progress(self, latest: Operation) -> Progress:
        """How the broker's operation on the binding stands."""
        return await self.broker.progress(
            self.place.instance.guid,
            self.binding.guid,
            self.place.planned,
            latest.broker_operation,
            deleting=self.operation == "delete",
        )


class Bind(BindingErrand):
    """Make a binding."""

    operation, verb, task = "create", "bind", "bind"
    orphan = "forget-binding"

    def __init__(
        self, cc: Controller, promised: ServiceErrand, place: Place, binding: Binding
    ) -> None:
        super().__init__(cc, promised, place, binding)
        self._given: dict[str, Any] = {}

    async def send(self) -> tuple[bool, str | None]:
        """PUT the binding."""
        place, binding = self.place, self.binding
        told: dict[str, Any] = {
            "bind_resource": await self.cc.store.read(lambda tx: bind_resource(tx, binding)),
            "context": place.context(),
        }
        if app := getattr(binding, "app_guid", None):
            told["app_guid"] = app
        if parameters := self.promised.asked.get("parameters"):
            told["parameters"] = parameters
        bound, goes_on = await self.broker.bind(
            place.instance.guid, binding.guid, place.planned, **told
        )
        if not goes_on:
            self._given = given(bound, place, binding)
        elif not place.offering.bindings_retrievable:
            raise BrokerError(
                "ServiceBindingInvalid",
                "The broker responded asynchronously but does not support fetching binding data",
                orphan=True,
            )
        return goes_on, bound.operation

    def begun(self, tx: Tx) -> None:
        """The broker takes its time."""
        self.note(tx, "start_create", self.binding)

    async def arrive(self) -> None:
        """What the binding gives is asked for."""
        bound = await self.broker.binding(self.place.instance.guid, self.binding.guid)
        self._given = given(bound, self.place, self.binding)

    def complete(self, tx: Tx) -> None:
        """The binding can be used."""
        binding = tx.need(type(self.binding), self.binding.guid)
        done = operation(tx, "create", before=binding.last_operation)
        self.note(tx, "create", tx.change(binding, **self._given, last_operation=done))


class Unbind(BindingErrand):
    """Delete a binding."""

    operation, verb, task = "delete", "unbind", "unbind"

    async def send(self) -> tuple[bool, str | None]:
        """DELETE the binding."""
        gone, goes_on = await self.broker.unbind(
            self.place.instance.guid, self.binding.guid, self.place.planned
        )
        return goes_on, gone.operation

    def begun(self, tx: Tx) -> None:
        """The broker takes its time."""
        self.note(tx, "start_delete", self.binding)

    def complete(self, tx: Tx) -> None:
        """It is gone."""
        if binding := find_binding(tx, self.binding.guid):
            self.note(tx, "delete", binding)
            tx.delete(binding)

    def in_words(self, error: ApplianceError) -> CloudError:
        """The instance is named."""
        if isinstance(error, Concurrency):
            return unable(
                self.verb,
                "The service broker rejected the request due to an operation being in progress "
                "for the service binding.",
            )
        if isinstance(error, BrokerError):
            name = self.place.instance.name
            return unable(
                self.verb,
                f"Service broker failed to delete service binding for instance {name}: {error}",
            )
        return unable(self.verb, str(error))


def given(bound: Bound, place: Place, binding: Binding) -> dict[str, Any]:
    """The fields of *binding* that a broker fills.

    Raises:
      BrokerError: it gives what its catalogue does not say that it would.
    """
    requires = place.offering.requires
    if bound.syslog_drain_url is not None and "syslog_drain" not in requires:
        raise BrokerError(
            "ServiceBrokerInvalidSyslogDrainUrl",
            "The service is attempting to stream logs from your application, but is not "
            "registered as a logging service. Please contact the service provider.",
            orphan=True,
        )
    if bound.volume_mounts is not None and "volume_mount" not in requires:
        raise BrokerError(
            "ServiceBrokerInvalidVolumeMounts",
            "The service is attempting to supply volume mounts from your application, but is not "
            "registered as a volume mount service. Please contact the service provider.",
            orphan=True,
        )
    if isinstance(binding, ServiceRouteBinding):
        if bound.route_service_url is not None and not _is_https(bound.route_service_url):
            raise BrokerError(
                "ServiceBrokerBadResponse",
                "The service broker returned an invalid response: route_service_url "
                f"'{bound.route_service_url}' must be https",
                orphan=True,
            )
        return {"route_service_url": bound.route_service_url}
    values: dict[str, Any] = {"credentials": bound.credentials or {}}
    if binding.type == "app":
        values["syslog_drain_url"] = bound.syslog_drain_url
        values["volume_mounts"] = tuple(msgspec.to_builtins(bound.volume_mounts or ()))
    return values


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname)
    except ValueError:
        return False


def event_of(binding: Binding) -> str:
    """What audit events call *binding*."""
    if isinstance(binding, ServiceRouteBinding):
        return "service_route_binding"
    return "service_key" if binding.type == "key" else "service_binding"


def binding_errand(cc: Controller, tx: Tx, promised: ServiceErrand) -> Errand | None:
    """The errand that *promised* is about, or None when its binding is gone."""
    binding = find_binding(tx, promised.resource_guid)
    if binding is None:
        return None
    place = place_of(tx, tx.need(ServiceInstance, binding.service_instance_guid))
    kind = {"bind": Bind, "unbind": Unbind}[promised.purpose]
    return kind(cc, promised, place, binding)
