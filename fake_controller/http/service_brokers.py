"""Service brokers: who offers services, for everybody or in one space."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.access import changed_in_space
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.events import HIDDEN
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Metadata, ToOne, new_labels, plain, relabelled
from fake_controller.model import ServiceBroker, Space
from fake_controller.services import brokers

SERVICE_BROKERS = Listing(
    kind=ServiceBroker,
    filters={"names": "name", "guids": "guid", "space_guids": "space_guid"},
    orders=("name",),
    present=lambda record, base, _: present.service_broker(record, base),
)


class OfSpace(msgspec.Struct):
    space: ToOne


class Credentials(msgspec.Struct):
    username: str
    password: str


class Authentication(msgspec.Struct):
    type: str
    credentials: Credentials


class NewBroker(msgspec.Struct):
    name: str
    url: str
    authentication: Authentication
    relationships: OfSpace | None = None
    metadata: Metadata | None = None


class ChangedBroker(msgspec.Struct):
    name: str | None = None
    url: str | None = None
    authentication: Authentication | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/service_brokers``."""
    cc = api.cc
    api.lists("/v3/service_brokers", SERVICE_BROKERS)
    api.shows("/v3/service_brokers/<guid>", SERVICE_BROKERS)

    async def synchronizing(
        operation: str, guid: str, changes: dict[str, Any], after_failure: str
    ) -> Response:
        user = api.identity().guid

        async def work() -> list[str]:
            return await brokers.synchronize_broker(
                cc, guid, changes, user, after_failure=after_failure
            )

        return api.accepted(await cc.start_job(operation, work))

    @api.post("/v3/service_brokers", body=NewBroker)
    async def create(wanted: NewBroker) -> Response:
        made = await api.write(lambda acting: _create(acting, wanted))
        operation = "service_broker.catalog.synchronize"
        return await synchronizing(operation, made.guid, {}, brokers.FAILED)

    @api.patch("/v3/service_brokers/<guid>", body=ChangedBroker)
    async def change(guid: str, wanted: ChangedBroker) -> Response:
        changes, before = await api.write(lambda acting: _change(acting, guid, wanted))
        if not changes:
            return await api.show(SERVICE_BROKERS, guid)
        return await synchronizing("service_broker.update", guid, changes, before)

    @api.delete("/v3/service_brokers/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> None:
            broker = acting.change(ServiceBroker, guid)
            brokers.check_removable(acting.tx, broker)
            acting.audit("audit.service_broker.delete", broker)
            acting.tx.change(broker, state=brokers.DELETING)

        await api.write(work)

        async def delete_broker() -> None:
            await cc.store.write(lambda tx: brokers.delete_broker(tx, guid))

        return api.accepted(await cc.start_job("service_broker.delete", delete_broker))


def _create(acting: Acting, wanted: NewBroker) -> ServiceBroker:
    space = None
    if wanted.relationships is None:
        acting.must_be_admin()
    else:
        acting.need_enabled("space_scoped_private_broker_creation")
        space = acting.into(Space, wanted.relationships.space.guid, rule=changed_in_space("guid"))
    brokers.check_broker(acting.tx, wanted.name, wanted.url)
    made = acting.tx.new(
        ServiceBroker,
        name=wanted.name,
        url=wanted.url,
        space_guid=space.guid if space else None,
        state=brokers.SYNCHRONIZING,
        **_login(wanted.authentication),
        **new_labels(wanted),
    )
    acting.audit("audit.service_broker.create", made, {"request": _asked(wanted)})
    return made


def _change(acting: Acting, guid: str, wanted: ChangedBroker) -> tuple[dict[str, Any], str]:
    """What is to be changed once the broker has answered, and the state that it was in."""
    broker, tx = acting.change(ServiceBroker, guid), acting.tx
    labels = relabelled(broker, wanted)
    if wanted.name is None and wanted.url is None and wanted.authentication is None:
        tx.change(broker, **labels)
        return {}, broker.state
    if broker.busy:
        raise unprocessable("Cannot update a broker when other operation is already in progress")
    brokers.check_broker(tx, wanted.name, wanted.url, itself=guid)
    changes: dict[str, Any] = {"name": wanted.name, "url": wanted.url}
    changes = {name: value for name, value in changes.items() if value is not None}
    if wanted.authentication is not None:
        changes |= _login(wanted.authentication)
    acting.audit("audit.service_broker.update", broker, {"request": _asked(wanted)})
    tx.change(broker, state=brokers.SYNCHRONIZING)
    return changes | labels, broker.state


def _login(authentication: Authentication) -> dict[str, str]:
    given = authentication.credentials
    if authentication.type != "basic":
        raise unprocessable('Authentication authentication.type must be one of ["basic"]')
    if not given.username or not given.password:
        raise unprocessable(
            'Authentication Field(s) ["username", "password"] must be valid: they can\'t be blank'
        )
    return {"username": given.username, "password": given.password}


def _asked(wanted: NewBroker | ChangedBroker) -> dict[str, Any]:
    shown = plain(wanted)
    if wanted.authentication is not None:
        shown["authentication"]["credentials"]["password"] = HIDDEN
    return shown
