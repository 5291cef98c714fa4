"""A broker's catalogue: what it must be, and every complaint about one that is not. Pure.

Source: Open Service Broker API 2.15, "Catalog Management"; the complaints and their order are
Cloud Controller's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fake_controller.broker.complaints import (
    Complaints,
    boolean,
    description,
    mapping,
    must_be,
    name_of,
    shown,
    text,
    texts,
    unique,
)
from fake_controller.broker.errors import BrokerError, quoted

TAGS_MOST = 2048  # characters, all tags together
SCHEMA_MOST = 64 * 1024  # characters of one JSON schema
MAINTENANCE_MOST = 2000  # characters, as JSON
REQUIRES = ("syslog_drain", "route_forwarding", "volume_mount")
SCHEMAS = (("service_instance", "create"), ("service_instance", "update"),
           ("service_binding", "create"))  # fmt: skip
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogPlan:
    """One plan of an offering, valid; the names are those of `ServicePlan`."""

    catalog_id: str
    name: str
    description: str
    free: bool
    bindable: bool | None
    plan_updateable: bool | None
    catalog_metadata: dict[str, Any]
    maximum_polling_duration: int | None
    maintenance_info: dict[str, Any] | None
    schemas: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogOffering:
    """One offering, valid; the names are those of `ServiceOffering`."""

    catalog_id: str
    name: str
    description: str
    bindable: bool
    tags: tuple[str, ...]
    requires: tuple[str, ...]
    catalog_metadata: dict[str, Any]
    plan_updateable: bool
    instances_retrievable: bool
    bindings_retrievable: bool
    allow_context_updates: bool
    plans: tuple[CatalogPlan, ...]


def parse_catalog(found: dict[str, Any]) -> tuple[CatalogOffering, ...]:
    """The offerings of a catalogue.

    Raises:
      BrokerError: it is wrong; the sentence names every offering and plan that is, and how.
    """
    complaints = Complaints()
    offerings = found.get("services") or []
    if not isinstance(offerings, list) or not all(isinstance(one, dict) for one in offerings):
        complaints.add(f"Service broker services {must_be('an array of hashes', offerings)}")
        offerings = []
    elif not offerings:
        complaints.add("Service broker must provide at least one service")
    for one in offerings:
        _check_offering(one, complaints)
    unique([one.get("id") for one in offerings], complaints, "Service ids must be unique")
    unique(
        [one.get("name") for one in offerings],
        complaints,
        "Service names must be unique within a broker",
    )
    _check_plan_ids(offerings, complaints)
    if lines := list(complaints.lines()):
        raise invalid_catalog(lines)
    return tuple(_offering(one) for one in offerings)


def invalid_catalog(lines: Sequence[str]) -> BrokerError:
    """A catalogue that cannot be taken, for these reasons."""
    text = "\n".join(["", *lines, ""])
    return BrokerError(
        "ServiceBrokerCatalogInvalid",
        quoted(f"Service broker catalog is invalid: {text}"),
        number=270012,
    )


def _check_offering(one: dict[str, Any], complaints: Complaints) -> None:
    about = complaints.within(f"Service {name_of(one)}")
    text(about, "Service id", one.get("id"), required=True)
    text(about, "Service name", one.get("name"), required=True)
    description(about, "Service description", one.get("description"))
    boolean(about, 'Service "bindable" field', one.get("bindable"), required=True)
    for name in (
        "plan_updateable", "bindings_retrievable", "instances_retrievable",
        "allow_context_updates",
    ):  # fmt: skip
        boolean(about, f'Service "{name}" field', one.get(name))
    tags = one.get("tags") or []
    if texts(about, "Service tags", tags) and sum(map(len, tags)) > TAGS_MOST:
        about.add(f"Tags for the service {name_of(one)} must be {TAGS_MOST} characters or less.")
    requires = one.get("requires") or []
    if texts(about, 'Service "requires" field', requires):
        for name in requires:
            if name not in REQUIRES:
                about.add(f'Service "requires" field contains unsupported value "{name}"')
    metadata = one.get("metadata")
    if mapping(about, "Service metadata", metadata) and metadata:
        boolean(about, "Service metadata shareable", metadata.get("shareable"))
    _check_dashboard_client(about, one.get("dashboard_client"))
    _check_plans(about, one.get("plans"))


def _check_dashboard_client(about: Complaints, client: Any) -> None:
    what = "Service dashboard client"
    if client is not None and mapping(about, f"{what} attributes", client):
        for name in ("id", "secret", "redirect_uri"):
            text(about, f"{what} {name}", client.get(name), required=True)


def _check_plans(about: Complaints, plans: Any) -> None:
    if not plans:
        about.add("At least one plan is required")
        return
    if not isinstance(plans, list) or not all(isinstance(plan, dict) for plan in plans):
        about.add(f"Service plans list {must_be('an array of hashes', plans)}")
        return
    for plan in plans:
        _check_plan(about.within(f"Plan {name_of(plan)}"), plan)
    unique(
        [plan.get("name") for plan in plans], about, "Plan names must be unique within a service"
    )


def _check_plan(about: Complaints, plan: dict[str, Any]) -> None:
    text(about, "Plan id", plan.get("id"), required=True)
    text(about, "Plan name", plan.get("name"), required=True)
    description(about, "Plan description", plan.get("description"))
    mapping(about, "Plan metadata", plan.get("metadata"))
    boolean(about, "Plan free", plan.get("free"))
    boolean(about, "Plan bindable", plan.get("bindable"))
    boolean(about, "Plan updateable", plan.get("plan_updateable"))
    duration = plan.get("maximum_polling_duration")
    if duration is not None and (isinstance(duration, bool) or not isinstance(duration, int)):
        about.add(f"Maximum polling duration {must_be('an integer', duration)}")
    maintenance = plan.get("maintenance_info")
    if maintenance is not None and mapping(about, "Maintenance info", maintenance):
        _check_maintenance(about, maintenance)
    schemas = plan.get("schemas")
    if schemas is not None and mapping(about, "Plan schemas", schemas):
        _check_schemas(about.within("Schemas"), schemas)


def _check_maintenance(about: Complaints, info: dict[str, Any]) -> None:
    version = info.get("version")
    text(about, "Maintenance info version", version, required=True)
    if isinstance(version, str) and version.strip() and not _SEMVER.fullmatch(version):
        about.add(f"Maintenance info version {must_be('a Semantic Version', version)}")
    text(about, "Maintenance info description", info.get("description"))
    if (length := len(json.dumps(info))) > MAINTENANCE_MOST:
        about.add(
            f"Maintenance info must serialize to {MAINTENANCE_MOST} characters or fewer in JSON, "
            f"but serializes to {length} characters"
        )
    if extra := [key for key in info if key not in ("version", "description")]:
        about.add(f"Maintenance info contains invalid key(s): {shown(', '.join(extra))}")


def _check_schemas(about: Complaints, schemas: dict[str, Any]) -> None:
    for kind, action in SCHEMAS:
        of_kind = schemas.get(kind)
        if of_kind is None or not mapping(about, f"Schemas {kind}", of_kind):
            continue
        of_action = of_kind.get(action)
        if of_action is None or not mapping(about, f"Schemas {kind}.{action}", of_action):
            continue
        schema, path = of_action.get("parameters"), f"{kind}.{action}.parameters"
        if schema is None or not mapping(about, f"Schemas {path}", schema):
            continue
        if len(json.dumps(schema)) > SCHEMA_MOST:
            about.add(f"Schema {path} is not valid. Must not be larger than 64KB")
        elif "$schema" not in schema:
            about.add(
                f"Schema {path} is not valid. Schema must have $schema key but was not present"
            )
        elif external := _external(schema):
            about.add(
                f"Schema {path} is not valid. No external references are allowed: {shown(external)}"
            )


def _external(schema: Any) -> str | None:
    """The first ``$ref`` that leads out of *schema*."""
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            reference = one.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                return reference
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return None


def _check_plan_ids(offerings: Sequence[dict[str, Any]], complaints: Complaints) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for one in offerings:
        plans = one.get("plans")
        for plan in plans if isinstance(plans, list) else ():
            if not isinstance(plan, dict) or not isinstance(plan.get("id"), str):
                continue
            name, offering = name_of(plan), name_of(one)
            if known := seen.get(plan["id"]):
                complaints.add(
                    f"Plan ids must be unique. Unable to register plan with id '{plan['id']}' "
                    f"(plan name '{name}', service name '{offering}') because it uses the same "
                    f"id as another plan in the catalog (plan name '{known[0]}', service name "
                    f"'{known[1]}')"
                )
            seen[plan["id"]] = (name, offering)


# From here on everything is known to be what it must be.


def _offering(one: dict[str, Any]) -> CatalogOffering:
    return CatalogOffering(
        catalog_id=one["id"],
        name=one["name"].strip(),
        description=one["description"],
        bindable=one["bindable"],
        tags=tuple(one.get("tags") or ()),
        requires=tuple(one.get("requires") or ()),
        catalog_metadata=one.get("metadata") or {},
        plan_updateable=bool(one.get("plan_updateable")),
        instances_retrievable=bool(one.get("instances_retrievable")),
        bindings_retrievable=bool(one.get("bindings_retrievable")),
        allow_context_updates=bool(one.get("allow_context_updates")),
        plans=tuple(_plan(plan) for plan in one["plans"]),
    )


def _plan(plan: dict[str, Any]) -> CatalogPlan:
    return CatalogPlan(
        catalog_id=plan["id"],
        name=plan["name"].strip(),
        description=plan["description"],
        free=plan.get("free") is not False,
        bindable=plan.get("bindable"),
        plan_updateable=plan.get("plan_updateable"),
        catalog_metadata=plan.get("metadata") or {},
        maximum_polling_duration=plan.get("maximum_polling_duration"),
        maintenance_info=plan.get("maintenance_info"),
        schemas=plan.get("schemas") or {},
    )
