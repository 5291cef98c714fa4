"""Service instances: those that users provide, and those that brokers have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from quart import Response, request

from fake_controller import present
from fake_controller.access import changed_in_space, secrets_in_space
from fake_controller.acting import Acting
from fake_controller.errors import CloudError, missing, unprocessable
from fake_controller.events import HIDDEN
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Metadata, ToOne, new_labels, plain, relabelled
from fake_controller.http.service_brokers import SERVICE_BROKERS
from fake_controller.http.service_offerings import SERVICE_OFFERINGS
from fake_controller.http.service_plans import SERVICE_PLANS
from fake_controller.http.spaces import SPACES
from fake_controller.model import (
    ServiceErrand,
    ServiceInstance,
    ServiceOffering,
    ServicePlan,
    ServiceRouteBinding,
    Space,
)
from fake_controller.services import instances, managed
from fake_controller.services.brokers import client_of
from fake_controller.services.places import Place, place_of
from fake_controller.services.promises import promise_deprovision
from fake_controller.store import Tx


def _plans(tx: Tx, records: Sequence[ServiceInstance]) -> dict[str, ServicePlan]:
    return {plan.guid: plan for plan in tx.follow(records, "service_plan")}


SERVICE_INSTANCES = Listing(
    kind=ServiceInstance,
    filters={
        "names": "name",
        "guids": "guid",
        "type": "type",
        "space_guids": "space_guid",
        "organization_guids": "space.organization_guid",
        "service_plan_guids": "service_plan_guid",
        "service_plan_names": "service_plan.name",
    },
    fields={
        "space": SPACES,
        "space.organization": ORGANIZATIONS,
        "service_plan": SERVICE_PLANS,
        "service_plan.service_offering": SERVICE_OFFERINGS,
        "service_plan.service_offering.service_broker": SERVICE_BROKERS,
    },
    orders=("name",),
    gather=_plans,
    present=lambda record, base, plans: present.service_instance(
        record, base, plans.get(record.service_plan_guid)
    ),
)
READS_SECRETS = secrets_in_space("space_guid")
DEVELOPS = changed_in_space("space_guid")


class OfSpaceAndPlan(msgspec.Struct):
    space: ToOne
    service_plan: ToOne | None = None


class OfPlan(msgspec.Struct):
    service_plan: ToOne


class NewServiceInstance(msgspec.Struct):
    type: str
    name: str
    relationships: OfSpaceAndPlan
    tags: list[str] | None = None
    credentials: dict[str, Any] | None = None
    syslog_drain_url: str | None = None
    route_service_url: str | None = None
    parameters: dict[str, Any] | None = None
    metadata: Metadata | None = None


class MaintenanceInfo(msgspec.Struct):
    version: str | None = None


class ChangedServiceInstance(msgspec.Struct):
    name: str | None = None
    tags: list[str] | UnsetType | None = UNSET
    credentials: dict[str, Any] | UnsetType | None = UNSET
    syslog_drain_url: str | UnsetType | None = UNSET
    route_service_url: str | UnsetType | None = UNSET
    parameters: dict[str, Any] | None = None
    relationships: OfPlan | None = None
    maintenance_info: MaintenanceInfo | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/service_instances``."""
    cc = api.cc
    api.lists("/v3/service_instances", SERVICE_INSTANCES)
    api.shows("/v3/service_instances/<guid>", SERVICE_INSTANCES)

    @api.post("/v3/service_instances", body=NewServiceInstance)
    async def create(wanted: NewServiceInstance) -> Response:
        if wanted.type == "user-provided":
            made = await api.write(lambda acting: _create_user_provided(acting, wanted))
            return await api.show(SERVICE_INSTANCES, made.guid, 201)
        if wanted.type != "managed":
            raise unprocessable("Type must be one of 'managed', 'user-provided'")
        errand, leftovers = await api.write(lambda acting: _create_managed(acting, wanted))
        cc.operator.begin(leftovers)
        return api.accepted(await cc.operator.start(errand))

    @api.patch("/v3/service_instances/<guid>", body=ChangedServiceInstance)
    async def change(guid: str, wanted: ChangedServiceInstance) -> Response:
        bound = await cc.store.find(ServiceRouteBinding, service_instance_guid=guid)
        errand = await api.write(lambda acting: _change(acting, guid, wanted))
        if errand is not None:
            return api.accepted(await cc.operator.start(errand))
        await cc.operator.reroute([binding.route_guid for binding in bound])
        return await api.show(SERVICE_INSTANCES, guid)

    @api.delete("/v3/service_instances/<guid>")
    async def delete(guid: str) -> Response:
        purge = request.args.get("purge") == "true"
        rerouted, errand = await api.write(lambda acting: _delete(acting, guid, purge=purge))
        if errand is not None:
            return api.accepted(await cc.operator.start(errand))
        await cc.operator.reroute(rerouted)
        return Response("", status=204)

    @api.get("/v3/service_instances/<guid>/credentials")
    async def credentials(guid: str) -> Response:
        def look(acting: Acting) -> dict[str, Any]:
            if acting.see(ServiceInstance, guid).managed:
                raise missing(ServiceInstance.noun())
            instance = acting.change(ServiceInstance, guid, rule=READS_SECRETS)
            acting.audit("audit.user_provided_service_instance.show", instance)
            return instance.credentials

        return api.json(await api.write(look))

    @api.get("/v3/service_instances/<guid>/parameters")
    async def parameters(guid: str) -> Response:
        place = await api.read(lambda acting: _asked_about(acting, guid))
        broker = client_of(api.cc, place.broker, api.identity().guid)
        return api.json((await broker.instance(guid)).parameters or {})

    @api.get("/v3/service_instances/<guid>/permissions")
    async def permissions(guid: str) -> Response:
        def look(acting: Acting) -> dict[str, bool]:
            # Brokers' dashboards ask this for people who may see nothing of the instance.
            instance = acting.tx.need(ServiceInstance, guid)
            develops = DEVELOPS(acting.access)
            return {
                "manage": acting.tx.first(ServiceInstance, develops, guid=instance.guid)
                is not None,
                "read": acting.sees(ServiceInstance, guid) is not None,
            }

        return api.json(await api.read(look))


def _space(acting: Acting, wanted: NewServiceInstance) -> Space:
    acting.need_enabled("service_instance_creation")
    return acting.into(Space, wanted.relationships.space.guid, rule=changed_in_space("guid"))


def _create_user_provided(acting: Acting, wanted: NewServiceInstance) -> ServiceInstance:
    if wanted.parameters is not None:
        raise unprocessable("Unknown field(s): 'parameters'")
    if wanted.relationships.service_plan is not None:
        raise unprocessable("Relationships Unknown field(s): 'service_plan'")
    space = _space(acting, wanted)
    made = instances.create_user_provided(
        acting.tx,
        wanted.name,
        space.guid,
        tags=wanted.tags or (),
        credentials=wanted.credentials or {},
        syslog_drain_url=wanted.syslog_drain_url or None,
        route_service_url=wanted.route_service_url or None,
        **new_labels(wanted),
    )
    data = {"request": asked(wanted)}
    acting.audit("audit.user_provided_service_instance.create", made, data)
    return made


def _create_managed(
    acting: Acting, wanted: NewServiceInstance
) -> tuple[ServiceErrand, list[ServiceErrand]]:
    for name in ("credentials", "syslog_drain_url", "route_service_url"):
        if getattr(wanted, name) is not None:
            raise unprocessable(f"Unknown field(s): '{name}'")
    if wanted.relationships.service_plan is None:
        raise unprocessable("Relationships Service plan can't be blank")
    space = _space(acting, wanted)
    plan = managed.check_plan(acting, wanted.relationships.service_plan.guid, space)
    return managed.create_managed(
        acting,
        wanted.name,
        space,
        plan,
        wanted.parameters,
        asked(wanted),
        tags=wanted.tags or (),
        **new_labels(wanted),
    )


def _change(acting: Acting, guid: str, wanted: ChangedServiceInstance) -> ServiceErrand | None:
    instance = acting.change(ServiceInstance, guid)
    changes: dict[str, Any] = relabelled(instance, wanted)
    if wanted.name:
        changes["name"] = wanted.name
    if wanted.tags is not UNSET:
        changes["tags"] = tuple(wanted.tags or ())
    if instance.managed:
        _only(wanted, "credentials", "syslog_drain_url", "route_service_url")
        if wanted.relationships is not None:
            changes["service_plan_guid"] = wanted.relationships.service_plan.guid
        if wanted.maintenance_info is not None and wanted.maintenance_info.version:
            changes["maintenance_info"] = {"version": wanted.maintenance_info.version}
        return managed.update_managed(acting, instance, changes, wanted.parameters, asked(wanted))
    _only(wanted, "parameters", "relationships", "maintenance_info")
    if wanted.credentials is not UNSET:
        changes["credentials"] = wanted.credentials or {}
    if wanted.syslog_drain_url is not UNSET:
        changes["syslog_drain_url"] = wanted.syslog_drain_url or None
    if wanted.route_service_url is not UNSET:
        changes["route_service_url"] = wanted.route_service_url or None
    changed = instances.change_user_provided(acting.tx, instance, changes)
    data = {"request": asked(wanted)}
    acting.audit("audit.user_provided_service_instance.update", changed, data)
    return None


def _only(wanted: ChangedServiceInstance, *others: str) -> None:
    """Raises where a field is given that only instances of the other type have."""
    for name in others:
        if getattr(wanted, name) not in (None, UNSET):
            raise unprocessable(f"Unknown field(s): '{name}'")


def _delete(acting: Acting, guid: str, *, purge: bool) -> tuple[list[str], ServiceErrand | None]:
    """The routes that lose a service at once, and the errand that is to be run."""
    instance, tx = acting.change(ServiceInstance, guid), acting.tx
    if instance.managed and not purge:
        errand = promise_deprovision(tx, instance, acting.actor, job="service_instance.delete")
        return [], errand
    if instance.managed:
        offering = place_of(tx, instance).offering
        acting.change(ServiceOffering, offering.guid)
        acting.audit("audit.service_instance.purge", instance)
    else:
        acting.audit("audit.user_provided_service_instance.delete", instance)
    return instances.delete_instance(tx, instance), None


def _asked_about(acting: Acting, guid: str) -> Place:
    """Where an instance is whose broker can be asked about it."""
    instance = acting.see(ServiceInstance, guid)
    latest = instance.last_operation
    if latest.is_("create", "failed"):
        raise missing(ServiceInstance.noun())
    place = place_of(acting.tx, instance) if instance.managed else None
    if place is None or not place.offering.instances_retrievable:
        raise CloudError(
            400,
            120004,
            "CF-ServiceFetchInstanceParametersNotSupported",
            "This service does not support fetching service instance parameters.",
        )
    if latest.unfinished:
        raise managed.instance_in_progress(instance)
    return place


def asked(wanted: msgspec.Struct) -> dict[str, Any]:
    """The request *wanted* for an audit event, without what nobody else may know."""
    shown = plain(wanted)
    for secret in ("credentials", "parameters"):
        if secret in shown:
            shown[secret] = HIDDEN
    return shown
