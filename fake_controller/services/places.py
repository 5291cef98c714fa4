"""Where a managed instance is: everything that its broker is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fake_controller.broker.client import Planned
from fake_controller.model import (
    App,
    Domain,
    Organization,
    Route,
    ServiceBroker,
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceOffering,
    ServicePlan,
    ServiceRouteBinding,
    Space,
)
from fake_controller.naming import uri
from fake_controller.store import Tx

Binding = ServiceCredentialBinding | ServiceRouteBinding


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A managed instance, with all that it belongs to."""

    instance: ServiceInstance
    plan: ServicePlan
    offering: ServiceOffering
    broker: ServiceBroker
    space: Space
    organization: Organization

    @property
    def planned(self) -> Planned:
        """What the broker calls its offering and plan."""
        return Planned(service_id=self.offering.catalog_id, plan_id=self.plan.catalog_id)

    @property
    def bindable(self) -> bool:
        """Whether there can be bindings to it."""
        own = self.plan.bindable
        return self.offering.bindable if own is None else own

    @property
    def plan_updateable(self) -> bool:
        """Whether it can change to another plan."""
        own = self.plan.plan_updateable
        return self.offering.plan_updateable if own is None else own

    def on(self, plan: ServicePlan) -> Place:
        """The same, but on another plan of its offering."""
        return replace(self, plan=plan)

    def context(self, **more: Any) -> dict[str, Any]:
        """What brokers are told of where it is."""
        return {
            "platform": "cloudfoundry",
            "organization_guid": self.organization.guid,
            "organization_name": self.organization.name,
            "organization_annotations": public(self.organization.annotations),
            "space_guid": self.space.guid,
            "space_name": self.space.name,
            "space_annotations": public(self.space.annotations),
            **more,
        }


def place_of(tx: Tx, instance: ServiceInstance) -> Place:
    """Where *instance*, a managed one, is."""
    plan = tx.need(ServicePlan, instance.service_plan_guid)
    offering = tx.need(ServiceOffering, plan.service_offering_guid)
    space = tx.need(Space, instance.space_guid)
    return Place(
        instance=instance,
        plan=plan,
        offering=offering,
        broker=tx.need(ServiceBroker, offering.service_broker_guid),
        space=space,
        organization=tx.need(Organization, space.organization_guid),
    )


def public(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those annotations that brokers may know: the ones with a prefix."""
    return {name: value for name, value in annotations.items() if "/" in name}


def bind_resource(tx: Tx, binding: Binding) -> dict[str, Any]:
    """What is bound, as brokers are told."""
    if isinstance(binding, ServiceRouteBinding):
        route = tx.need(Route, binding.route_guid)
        return {"route": uri(route, tx.need(Domain, route.domain_guid).name)}
    if binding.app_guid is None:
        return {}
    app = tx.need(App, binding.app_guid)
    return {
        "app_guid": app.guid,
        "space_guid": app.space_guid,
        "app_annotations": public(app.annotations),
    }


def find_binding(tx: Tx, guid: str) -> Binding | None:
    """The binding of either kind."""
    return tx.get(ServiceCredentialBinding, guid) or tx.get(ServiceRouteBinding, guid)
