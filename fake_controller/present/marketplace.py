"""Service brokers, offerings and plans. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fake_controller.model import Organization, ServiceBroker, ServiceOffering, ServicePlan, Space
from fake_controller.present.shape import Json, common, to_one

PRICE_MOST = 10**15  # of any currency; beyond it a number is not exact any more


def service_broker(record: ServiceBroker, base: str) -> Json:
    """A service broker; nobody is shown its credentials."""
    shown = common(record, base, "service_brokers")
    offerings = f"{base}/v3/service_offerings?service_broker_guids={record.guid}"
    shown["links"]["service_offerings"] = {"href": offerings}
    relationships: Json = {}
    if record.space_guid:
        shown["links"]["space"] = {"href": f"{base}/v3/spaces/{record.space_guid}"}
        relationships["space"] = to_one(record.space_guid)
    return shown | {"name": record.name, "url": record.url, "relationships": relationships}


def service_offering(record: ServiceOffering, base: str) -> Json:
    """A service offering."""
    shown = common(record, base, "service_offerings")
    broker = record.service_broker_guid
    shown["links"] |= {
        "service_plans": {"href": f"{base}/v3/service_plans?service_offering_guids={record.guid}"},
        "service_broker": {"href": f"{base}/v3/service_brokers/{broker}"},
    }
    documentation = record.catalog_metadata.get("documentationUrl")
    return shown | {
        "name": record.name,
        "description": record.description,
        "available": record.available,
        "tags": list(record.tags),
        "requires": list(record.requires),
        "shareable": record.shareable,
        "documentation_url": documentation if isinstance(documentation, str) else "",
        "broker_catalog": {
            "id": record.catalog_id,
            "metadata": record.catalog_metadata,
            "features": {
                "plan_updateable": record.plan_updateable,
                "bindable": record.bindable,
                "instances_retrievable": record.instances_retrievable,
                "bindings_retrievable": record.bindings_retrievable,
                "allow_context_updates": record.allow_context_updates,
            },
        },
        "relationships": {"service_broker": to_one(broker)},
    }


def service_plan(
    record: ServicePlan, base: str, offering: ServiceOffering, space_guid: str | None
) -> Json:
    """A service plan; *space_guid* is its broker's, where that is of one space."""
    shown = common(record, base, "service_plans")
    own = f"{base}/v3/service_plans/{record.guid}"
    shown["links"] |= {
        "service_offering": {"href": f"{base}/v3/service_offerings/{offering.guid}"},
        "visibility": {"href": f"{own}/visibility"},
    }
    relationships = {"service_offering": to_one(offering.guid)}
    if space_guid:
        shown["links"]["space"] = {"href": f"{base}/v3/spaces/{space_guid}"}
        relationships["space"] = to_one(space_guid)
    bindable, updateable = record.bindable, record.plan_updateable
    return shown | {
        "name": record.name,
        "visibility_type": record.visibility,
        "available": record.available,
        "free": record.free,
        "costs": _costs(record.catalog_metadata.get("costs")),
        "description": record.description,
        "maintenance_info": record.maintenance_info or {},
        "broker_catalog": {
            "id": record.catalog_id,
            "metadata": record.catalog_metadata,
            "maximum_polling_duration": record.maximum_polling_duration,
            "features": {
                "bindable": offering.bindable if bindable is None else bindable,
                "plan_updateable": offering.plan_updateable if updateable is None else updateable,
            },
        },
        "schemas": {
            "service_instance": {
                action: {"parameters": _schema(record.schemas, "service_instance", action)}
                for action in ("create", "update")
            },
            "service_binding": {
                "create": {"parameters": _schema(record.schemas, "service_binding", "create")}
            },
        },
        "relationships": relationships,
    }


def _schema(schemas: Json, *path: str) -> Json:
    """The JSON schema of parameters; checked when the catalogue came, so each step is an object."""
    found: Any = schemas
    for step in (*path, "parameters"):
        found = (found or {}).get(step)
    return found or {}


def _costs(costs: Any) -> list[Json]:
    """One entry for each currency; nothing at all where one of them is no price."""
    found: list[Json] = []
    for cost in costs if isinstance(costs, list) else ():
        amounts = cost.get("amount") if isinstance(cost, dict) else None
        unit = cost.get("unit") if isinstance(cost, dict) else None
        if not isinstance(amounts, dict) or not amounts or not isinstance(unit, str) or not unit:
            return []
        for currency, amount in amounts.items():
            if not currency or isinstance(amount, bool) or not isinstance(amount, (int, float)):
                return []
            if abs(amount) > PRICE_MOST:
                return []
            found.append({"currency": currency.upper(), "amount": float(amount), "unit": unit})
    return found


def service_plan_visibility(
    record: ServicePlan, organizations: Sequence[Organization] | None, space: Space | None
) -> Json:
    """Who can use a plan; *organizations* are those that the asker sees."""
    shown: Json = {"type": record.visibility}
    if record.visibility == "organization" and organizations is not None:
        shown["organizations"] = [{"guid": one.guid, "name": one.name} for one in organizations]
    if space is not None:
        shown["space"] = {"guid": space.guid, "name": space.name}
    return shown
