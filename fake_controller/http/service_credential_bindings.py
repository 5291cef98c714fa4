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
from fake_controller.http.relations import Metadata, ToOne, new_labels, plain
from fake_controller.http.service_instances import SERVICE_INSTANCES
from fake_controller.model import App, ServiceCredentialBinding, ServiceInstance
from fake_controller.policy import of_keys
from fake_controller.services import binding
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
    path = "/v3/service_credential_bindings"
    api.lists(path, BINDINGS)
    api.shows(f"{path}/<guid>", BINDINGS)
    api.labels(f"{path}/<guid>", BINDINGS)

    @api.post(path, body=NewBinding)
    async def create(wanted: NewBinding) -> Response:
        _check(wanted)
        made = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(BINDINGS, made.guid, 201)

    @api.delete(f"{path}/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> None:
            found = acting.change(ServiceCredentialBinding, guid, rule=BINDS)
            acting.audit(f"audit.{_event(found)}.delete", found, {"request": _related(found)})
            acting.tx.delete(found)

        await api.write(work)
        return Response("", status=204)

    @api.get(f"{path}/<guid>/details")
    async def details(guid: str) -> Response:
        def look(acting: Acting) -> ServiceCredentialBinding:
            found = acting.see(ServiceCredentialBinding, guid)
            readable = READS_SECRETS(acting.access)
            if acting.tx.first(ServiceCredentialBinding, readable, guid=guid) is None:
                raise missing(ServiceCredentialBinding.noun())
            acting.audit(f"audit.{_event(found)}.show", found, {"request": _related(found)})
            return found

        return api.json(present.service_credential_binding_details(await api.write(look)))

    @api.get(f"{path}/<guid>/parameters")
    async def parameters(guid: str) -> Response:
        await api.read(lambda acting: acting.see(ServiceCredentialBinding, guid))
        raise CloudError(
            400,
            90007,
            "CF-ServiceFetchBindingParametersNotSupported",
            "This service does not support fetching service binding parameters.",
        )


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


def _create(acting: Acting, wanted: NewBinding) -> ServiceCredentialBinding:
    instance = _related_to(acting, ServiceInstance, wanted.relationships.service_instance.guid)
    if wanted.parameters is not None:
        raise unprocessable(
            "Binding parameters are not supported for user-provided service instances"
        )
    if wanted.type == "key":
        acting.change(ServiceInstance, instance.guid)
        raise unprocessable(
            "Service credential bindings of type 'key' are not supported for "
            "user-provided service instances."
        )
    assert wanted.relationships.app is not None
    app = _related_to(acting, App, wanted.relationships.app.guid)
    acting.change(App, app.guid, rule=changed_in_space("space_guid", SUPPORTERS))
    made = binding.bind_user_provided(
        acting.tx,
        app,
        instance,
        name=wanted.name,
        strategy=wanted.strategy,
        **new_labels(wanted),
    )
    acting.audit("audit.service_binding.create", made, {"request": _asked(wanted)})
    return made


def _related_to(acting: Acting, kind: type[R], guid: str) -> R:
    found = acting.sees(kind, guid)
    if found is None:
        raise unprocessable(f"The {kind.noun().lower()} could not be found: '{guid}'")
    return found


def _event(record: ServiceCredentialBinding) -> str:
    return "service_key" if record.type == "key" else "service_binding"


def _related(record: ServiceCredentialBinding) -> dict[str, str | None]:
    return {"service_instance_guid": record.service_instance_guid, "app_guid": record.app_guid}


def _asked(wanted: NewBinding) -> dict[str, Any]:
    shown = plain(wanted)
    if "parameters" in shown:
        shown["parameters"] = "[PRIVATE DATA HIDDEN]"
    return shown
