"""A broker's catalogue becomes offerings and plans; what has left it goes when it can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from fake_controller.broker.catalog import CatalogOffering, CatalogPlan, invalid_catalog
from fake_controller.conditions import Condition, among, is_
from fake_controller.events import Actor, record_event
from fake_controller.model import (
    ServiceBroker,
    ServiceInstance,
    ServiceOffering,
    ServicePlan,
    ServicePlanVisibility,
    Space,
)
from fake_controller.services.instances import delete_instance
from fake_controller.store import Tx


def synchronize(tx: Tx, broker: ServiceBroker, catalog: Sequence[CatalogOffering]) -> list[str]:
    """Make offerings and plans of *broker* what *catalog* says; returns warnings.

    What is not in the catalogue any more is deleted, or only made unavailable while there are
    instances of it.

    Raises:
      BrokerError: a name or an id is taken by what cannot be deleted.
    """
    offerings = {
        one.catalog_id: one for one in tx.find(ServiceOffering, service_broker_guid=broker.guid)
    }
    plans = {
        one.guid: one
        for one in tx.find(ServicePlan, service_offering_guid=[o.guid for o in offerings.values()])
    }
    used = {
        one.service_plan_guid for one in tx.find(ServiceInstance, service_plan_guid=list(plans))
    }
    _check_names(catalog, offerings, {plans[guid].service_offering_guid for guid in used if guid})
    by_offering: dict[str, dict[str, ServicePlan]] = {}
    for plan in plans.values():
        by_offering.setdefault(plan.service_offering_guid, {})[plan.catalog_id] = plan
    kept: set[str] = set()
    actor = Actor(guid=broker.guid, name=broker.name, type="service_broker")
    for listed in catalog:
        values = _values(listed, "plans")
        known = offerings.pop(listed.catalog_id, None)
        if known:
            offering = tx.change(known, available=True, **values)
        else:
            offering = tx.new(ServiceOffering, service_broker_guid=broker.guid, **values)
            record_event(tx, "audit.service.create", actor, offering, {})
        of_it = by_offering.get(offering.guid, {})
        for entry in listed.plans:
            kept.add(_keep_plan(tx, broker, offering, of_it.get(entry.catalog_id), entry).guid)
    gone = [plan for guid, plan in plans.items() if guid not in kept]
    stuck = [plan for plan in gone if plan.guid in used]
    for plan in gone:
        if plan.guid in used:
            tx.change(plan, available=False)
        else:
            record_event(tx, "audit.service_plan.delete", actor, plan, {})
            delete_plan(tx, plan)
    for offering in offerings.values():
        if any(plan.service_offering_guid == offering.guid for plan in stuck):
            tx.change(offering, available=False)
        else:
            record_event(tx, "audit.service.delete", actor, offering, {})
            tx.delete(offering)
    return _warnings(tx, broker, stuck)


def _keep_plan(
    tx: Tx,
    broker: ServiceBroker,
    offering: ServiceOffering,
    known: ServicePlan | None,
    listed: CatalogPlan,
) -> ServicePlan:
    values = _values(listed)
    if known:
        return tx.change(known, available=True, **values)
    visibility = "space" if broker.space_guid else "admin"
    return tx.new(ServicePlan, service_offering_guid=offering.guid, visibility=visibility, **values)


def _values(listed: CatalogOffering | CatalogPlan, *without: str) -> dict[str, Any]:
    """The fields of a catalogue's entry, which are those of its record."""
    names = (one.name for one in fields(listed) if one.name not in without)
    return {name: getattr(listed, name) for name in names}


def _check_names(
    catalog: Sequence[CatalogOffering],
    known: Mapping[str, ServiceOffering],
    used: set[str],
) -> None:
    """Raises where a new offering has the name of another one that cannot be deleted."""
    new = {one.name: one.catalog_id for one in catalog}
    taken = [
        one.name
        for one in known.values()
        if one.guid in used and new.get(one.name, one.catalog_id) != one.catalog_id
    ]
    if taken:
        raise invalid_catalog(
            [
                "Service names must be unique within a broker. "
                f"Services with names {taken} already exist"
            ]
        )


def _warnings(tx: Tx, broker: ServiceBroker, stuck: Iterable[ServicePlan]) -> list[str]:
    by_offering: dict[str, list[str]] = {}
    for plan in stuck:
        offering = tx.need(ServiceOffering, plan.service_offering_guid)
        by_offering.setdefault(offering.name, []).append(plan.name)
    if not by_offering:
        return []
    told = "\n".join(
        f"\nService Offering: {name}\nPlans deactivated: {', '.join(sorted(plans))}"
        for name, plans in sorted(by_offering.items())
    )
    return [
        "Warning: Service plans are missing from the broker's catalog "
        f"({broker.url}/v2/catalog) but can not be removed from Cloud Foundry while instances "
        "exist. The plans have been deactivated to prevent users from attempting to provision "
        "new instances of these plans. The broker should continue to support bind, unbind, and "
        "delete for existing instances; if these operations fail contact your broker provider."
        f"\n{told}"
    ]


def delete_plan(tx: Tx, plan: ServicePlan) -> None:
    """Forget *plan* and who may use it."""
    for visibility in tx.find(ServicePlanVisibility, service_plan_guid=plan.guid):
        tx.delete(visibility)
    tx.delete(plan)


def delete_offering(tx: Tx, offering: ServiceOffering) -> None:
    """Forget *offering* and its plans."""
    for plan in tx.find(ServicePlan, service_offering_guid=offering.guid):
        delete_plan(tx, plan)
    tx.delete(offering)


def purge_offering(tx: Tx, offering: ServiceOffering) -> None:
    """Forget *offering* with all that was made of it; its broker is not told."""
    plans = [one.guid for one in tx.find(ServicePlan, service_offering_guid=offering.guid)]
    for instance in tx.find(ServiceInstance, service_plan_guid=plans):
        delete_instance(tx, instance)
    delete_offering(tx, offering)


def plans_in_organizations(guids: Iterable[str]) -> Condition:
    """The plans that can be used in some space of these organizations."""
    wanted = list(guids)
    return (
        is_("visibility", "public")
        | among("service_plan_visibilities[service_plan_guid].organization_guid", wanted)
        | among("service_offering.service_broker.space.organization_guid", wanted)
    )


def plans_in_spaces(guids: Iterable[str]) -> Condition:
    """The plans that can be used in one of these spaces."""
    wanted = list(guids)
    by_organization = "service_plan_visibilities[service_plan_guid].organization"
    return (
        is_("visibility", "public")
        | among(f"{by_organization}.spaces[organization_guid].guid", wanted)
        | among("service_offering.service_broker.space_guid", wanted)
    )


def usable_in(tx: Tx, plan: ServicePlan, space: Space) -> bool:
    """Whether instances of *plan* can be made in *space*, or shared with it."""
    return tx.first(ServicePlan, plans_in_spaces([space.guid]), guid=plan.guid) is not None
