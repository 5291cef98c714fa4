"""Service credential bindings: of apps, and keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import SUPPORTERS, changed_in_space, either, secrets_in_space
from fake_controller.acting import Acting
from fake_controller.errors import CloudError, missing, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.apps import APPS
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Labels, Metadata, ToOne, new_labels, plain, relabelled
from fake_controller.http.service_instances import SERVICE_INSTANCES, asked
from fake_controller.model import (
    UNFINISHED,
    App,
    ServiceCredentialBinding,
    ServiceErrand,
    ServiceInstance,
)
from fake_controller.policy import of_keys
from fake_controller.services.binding import (
    Begun,
    bind_app,
    check_made,
    check_unbinding,
    make_key,
)
from fake_controller.services.binding_errands import event_of
from fake_controller.services.brokers import client_of
from fake_controller.services.places import Place, place_of
from fake_controller.services.promises import promise_unbind
from fake_controller.store import Tx

R = TypeVar("R", App, ServiceInstance)


def _managed(tx: Tx, records: Sequence[ServiceCredentialBinding]) -> set[str]:
    """The guids of those instances that brokers have."""
    return {one.guid for one in tx.follow(records, "service_instance") if one.managed}


BINDINGS = Listing(
    kind=ServiceCredentialBinding,
    filters={
        "names": "name",
        "guids": "guid",
        "type": "type",
        "app_guids": "app_guid",
        "app_names": "app.name",
        "service_instance_guids": "service_instance_guid",
        "service_instance_names": "service_instance.name",
        "service_plan_guids": "service_instance.service_plan_guid",
        "service_plan_names": "service_instance.service_plan.name",
        "service_offering_guids": "service_instance.service_plan.service_offering_guid",
        "service_offering_names": "service_instance.service_plan.service_offering.name",
    },
    includes={"app": APPS, "service_instance": SERVICE_INSTANCES},
    orders=("name",),
    gather=_managed,
    present=lambda record, base, managed: present.service_credential_binding(
        record, base, record.service_instance_guid in managed
    ),
)
BINDS = either(
    changed_in_space("app.space_guid", SUPPORTERS),
    of_keys(changed_in_space("service_instance.space_guid")),
)
READS_SECRETS = either(
    secrets_in_space("app.space_guid"),
    of_keys(secrets_in_space("service_instance.space_guid")),
)


class OfInstanceAndApp(msgspec.Struct):
    service_instance: ToOne
    app: ToOne | None = None


class NewBinding(msgspec.Struct):
    type: str
    relationships: OfInstanceAndApp
    name: str | None = None
    strategy: str | None = None
    parameters: dict[str, Any] | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/service_credential_bindings``."""
    path, cc = "/v3/service_credential_bindings", api.cc
    api.lists(path, BINDINGS)
    api.shows(f"{path}/<guid>", BINDINGS)

    @api.patch(f"{path}/<guid>", body=Labels)
    async def label(guid: str, wanted: Labels) -> Response:
        def work(acting: Acting) -> None:
            found = acting.change(ServiceCredentialBinding, guid)
            if found.last_operation.is_("delete", *UNFINISHED):
                raise unprocessable("The service binding is being deleted")
            changed = acting.tx.change(found, **relabelled(found, wanted))
            acting.audit(f"audit.{event_of(found)}.update", changed, {"request": plain(wanted)})

        await api.write(work)
        return await api.show(BINDINGS, guid)

    @api.post(path, body=NewBinding)
    async def create(wanted: NewBinding) -> Response:
        _check(wanted)
        begun = await api.write(lambda acting: _create(acting, wanted))
        cc.operator.begin(begun.leftovers)
        if begun.errand is None:
            return await api.show(BINDINGS, begun.binding.guid, 201)
        return api.accepted(await cc.operator.start(begun.errand))

    @api.delete(f"{path}/<guid>")
    async def delete(guid: str) -> Response:
        errand = await api.write(lambda acting: _delete(acting, guid))
        if errand is None:
            return Response("", status=204)
        return api.accepted(await cc.operator.start(errand))

    @api.get(f"{path}/<guid>/details")
    async def details(guid: str) -> Response:
        def look(acting: Acting) -> ServiceCredentialBinding:
            found = acting.see(ServiceCredentialBinding, guid)
            readable = READS_SECRETS(acting.access)
            if acting.tx.first(ServiceCredentialBinding, readable, guid=guid) is None:
                raise missing(ServiceCredentialBinding.noun())
            check_made(found, _what(found))
            acting.audit(f"audit.{event_of(found)}.show", found, {"request": _related(found)})
            return found

        return api.json(present.service_credential_binding_details(await api.write(look)))

    @api.get(f"{path}/<guid>/parameters")
    async def parameters(guid: str) -> Response:
        def look(acting: Acting) -> Place:
            found = acting.see(ServiceCredentialBinding, guid)
            check_made(found, _what(found))
            instance = acting.tx.need(ServiceInstance, found.service_instance_guid)
            place = place_of(acting.tx, instance) if instance.managed else None
            if place is None or not place.offering.bindings_retrievable:
                raise CloudError(
                    400,
                    90007,
                    "CF-ServiceFetchBindingParametersNotSupported",
                    "This service does not support fetching service binding parameters.",
                )
            return place

        place = await api.read(look)
        broker = client_of(api.cc, place.broker, api.identity().guid)
        return api.json((await broker.binding(place.instance.guid, guid)).parameters or {})


def _check(wanted: NewBinding) -> None:
    """What can be told without looking at anything else."""
    if wanted.type not in ("app", "key"):
        raise unprocessable("Type must be 'app' or 'key'")
    if wanted.type == "key" and not wanted.name:
        raise unprocessable("Name can't be blank")
    if wanted.type == "app" and wanted.relationships.app is None:
        raise unprocessable("Relationships App can't be blank")
    if wanted.strategy not in (None, "single", "multiple"):
        raise unprocessable("Strategy must be 'single' or 'multiple'")


def _create(acting: Acting, wanted: NewBinding) -> Begun:
    instance = _related_to(acting, ServiceInstance, wanted.relationships.service_instance.guid)
    if wanted.type == "key":
        acting.change(ServiceInstance, instance.guid)
        return make_key(
            acting,
            instance,
            str(wanted.name),
            parameters=wanted.parameters,
            request=asked(wanted),
            **new_labels(wanted),
        )
    assert wanted.relationships.app is not None
    app = _related_to(acting, App, wanted.relationships.app.guid)
    acting.change(App, app.guid, rule=changed_in_space("space_guid", SUPPORTERS))
    return bind_app(
        acting,
        app,
        instance,
        name=wanted.name,
        strategy=wanted.strategy,
        parameters=wanted.parameters,
        request=asked(wanted),
        **new_labels(wanted),
    )


def _delete(acting: Acting, guid: str) -> ServiceErrand | None:
    found = acting.change(ServiceCredentialBinding, guid, rule=BINDS)
    instance = check_unbinding(acting.tx, found)
    if instance.managed:
        job = "service_keys.delete" if found.type == "key" else "service_bindings.delete"
        return promise_unbind(acting.tx, found, acting.actor, job=job)
    acting.audit(f"audit.{event_of(found)}.delete", found, {"request": _related(found)})
    acting.tx.delete(found)
    return None


def _related_to(acting: Acting, kind: type[R], guid: str) -> R:
    found = acting.sees(kind, guid)
    if found is None:
        raise unprocessable(f"The {kind.noun().lower()} could not be found: '{guid}'")
    return found


def _what(record: ServiceCredentialBinding) -> str:
    return "service key" if record.type == "key" else "service binding"


def _related(record: ServiceCredentialBinding) -> dict[str, str | None]:
    return {"service_instance_guid": record.service_instance_guid, "app_guid": record.app_guid}
