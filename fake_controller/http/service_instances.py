"""Service instances: those that users provide, and those that brokers have."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from quart import Response

from fake_controller import present
from fake_controller.access import changed_in_space, secrets_in_space
from fake_controller.acting import Acting
from fake_controller.errors import CloudError, missing, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Metadata, ToOne, new_labels, plain, relabelled
from fake_controller.http.spaces import SPACES
from fake_controller.model import ServiceInstance, ServiceRouteBinding, Space
from fake_controller.services import instances
from fake_controller.services.route_binding import apps_behind, follow_url

SERVICE_INSTANCES = Listing(
    kind=ServiceInstance,
    filters={
        "names": "name",
        "guids": "guid",
        "type": "type",
        "space_guids": "space_guid",
        "organization_guids": "space.organization_guid",
        "service_plan_guids": "service_plan_guid",
    },
    fields={"space": SPACES, "space.organization": ORGANIZATIONS},
    ignored=(
        "fields[service_plan]",
        "fields[service_plan.service_offering]",
        "fields[service_plan.service_offering.service_broker]",
    ),
    orders=("name",),
    present=lambda record, base, _: present.service_instance(record, base),
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
    api.lists("/v3/service_instances", SERVICE_INSTANCES)
    api.shows("/v3/service_instances/<guid>", SERVICE_INSTANCES)

    @api.post("/v3/service_instances", body=NewServiceInstance)
    async def create(wanted: NewServiceInstance) -> Response:
        if wanted.type == "user-provided":
            made = await api.write(lambda acting: _create_user_provided(acting, wanted))
            return await api.show(SERVICE_INSTANCES, made.guid, 201)
        if wanted.type == "managed":
            raise unprocessable(
                "Invalid service plan. Ensure that the service plan exists, is available, "
                "and you have access to it."
            )
        raise unprocessable("Type must be one of 'managed', 'user-provided'")

    @api.patch("/v3/service_instances/<guid>", body=ChangedServiceInstance)
    async def change(guid: str, wanted: ChangedServiceInstance) -> Response:
        for app in await api.write(lambda acting: _change_user_provided(acting, guid, wanted)):
            await api.workers.runner.update_routes(app)
        return await api.show(SERVICE_INSTANCES, guid)

    @api.delete("/v3/service_instances/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> set[str]:
            instance = acting.change(ServiceInstance, guid)
            acting.audit("audit.user_provided_service_instance.delete", instance)
            routes = acting.tx.find(ServiceRouteBinding, service_instance_guid=guid)
            apps = apps_behind(acting.tx, routes)
            instances.delete_instance(acting.tx, instance)
            return apps

        for app in await api.write(work):
            await api.workers.runner.update_routes(app)
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
        await api.read(lambda acting: acting.see(ServiceInstance, guid))
        raise CloudError(
            400,
            120004,
            "CF-ServiceFetchInstanceParametersNotSupported",
            "This service does not support fetching service instance parameters.",
        )

    @api.get("/v3/service_instances/<guid>/permissions")
    async def permissions(guid: str) -> Response:
        def look(acting: Acting) -> dict[str, bool]:
            # Brokers' dashboards ask this for people who may see nothing of the instance.
            instance = acting.tx.need(ServiceInstance, guid)
            managed = acting.tx.first(ServiceInstance, DEVELOPS(acting.access), guid=instance.guid)
            return {
                "manage": managed is not None,
                "read": acting.sees(ServiceInstance, guid) is not None,
            }

        return api.json(await api.read(look))


def _create_user_provided(acting: Acting, wanted: NewServiceInstance) -> ServiceInstance:
    acting.need_enabled("service_instance_creation")
    space = acting.into(Space, wanted.relationships.space.guid, rule=changed_in_space("guid"))
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


def _change_user_provided(acting: Acting, guid: str, wanted: ChangedServiceInstance) -> set[str]:
    """Make the changes; the guids of apps whose routes go another way now."""
    instance = acting.change(ServiceInstance, guid)
    changes: dict[str, Any] = relabelled(instance, wanted)
    if wanted.name:
        changes["name"] = wanted.name
    if wanted.tags is not UNSET:
        changes["tags"] = tuple(wanted.tags or ())
    if wanted.credentials is not UNSET:
        changes["credentials"] = wanted.credentials or {}
    if wanted.syslog_drain_url is not UNSET:
        changes["syslog_drain_url"] = wanted.syslog_drain_url or None
    if wanted.route_service_url is not UNSET:
        changes["route_service_url"] = wanted.route_service_url or None
    changed = instances.change_user_provided(acting.tx, instance, changes)
    data = {"request": asked(wanted)}
    acting.audit("audit.user_provided_service_instance.update", changed, data)
    return follow_url(acting.tx, changed)


def asked(wanted: msgspec.Struct) -> dict[str, Any]:
    """The request *wanted* for an audit event, without what nobody else may know."""
    shown = plain(wanted)
    for secret in ("credentials", "parameters"):
        if secret in shown:
            shown[secret] = "[PRIVATE DATA HIDDEN]"
    return shown
