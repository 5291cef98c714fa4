"""Service instances in other spaces than their own."""

from __future__ import annotations

from collections import Counter

import msgspec
from quart import Response, request

from fake_controller.access import changed_in_space
from fake_controller.acting import Acting
from fake_controller.errors import CloudError, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Json, Listing, Query, included, understand
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Guid
from fake_controller.http.spaces import SPACES
from fake_controller.model import (
    App,
    ServiceCredentialBinding,
    ServiceErrand,
    ServiceInstance,
    ServiceInstanceShare,
    Space,
)
from fake_controller.services.marketplace import usable_in
from fake_controller.services.places import Place, place_of
from fake_controller.services.promises import promise_unbind
from fake_controller.store import Tx

SHARES = Listing(
    kind=ServiceInstanceShare,
    fields={"space": SPACES, "space.organization": ORGANIZATIONS},
    present=lambda record, _base, _: {"guid": record.space_guid},
)
WRITES = changed_in_space("guid")


class Spaces(msgspec.Struct):
    data: list[Guid]


def routes(api: Api) -> None:
    """``/v3/service_instances/:guid/relationships/shared_spaces``."""
    path = "/v3/service_instances/<guid>/relationships/shared_spaces"
    cc = api.cc

    @api.get(path)
    async def shared(guid: str) -> Response:
        query, base = list(request.args.items(multi=True)), api.base

        def look(acting: Acting) -> Json:
            acting.see(ServiceInstance, guid)
            return _shown(acting, guid, base, query)

        return api.json(await api.read(look))

    @api.post(path, body=Spaces)
    async def share(guid: str, wanted: Spaces) -> Response:
        base = api.base

        def work(acting: Acting) -> Json:
            _share(acting, guid, list(dict.fromkeys(one.guid for one in wanted.data)))
            return _shown(acting, guid, base, [])

        return api.json(await api.write(work))

    @api.delete(f"{path}/<space_guid>")
    async def unshare(guid: str, space_guid: str) -> Response:
        errands = await api.write(lambda acting: _unbind_in(acting, guid, space_guid))
        for errand in errands:
            await cc.operator.start(errand)
        await api.write(lambda acting: _unshare(acting, guid, space_guid))
        return Response("", status=204)

    @api.get(f"{path}/usage_summary")
    async def usage(guid: str) -> Response:
        base = api.base

        def look(acting: Acting) -> Json:
            acting.see(ServiceInstance, guid)
            return _usage(acting.tx, guid, base)

        return api.json(await api.read(look))


def _shown(acting: Acting, guid: str, base: str, query: Query) -> Json:
    shares = acting.tx.find(ServiceInstanceShare, service_instance_guid=guid)
    own = f"{base}/v3/service_instances/{guid}/relationships/shared_spaces"
    shown: Json = {"data": SHARES.shown(acting, shares, base), "links": {"self": {"href": own}}}
    asked = understand(SHARES, query)
    if asked.fields:
        shown["included"] = included(acting, SHARES, shares, asked, base)
    return shown


def _usage(tx: Tx, guid: str, base: str) -> Json:
    bindings = tx.find(ServiceCredentialBinding, service_instance_guid=guid, type="app")
    spaces = {app.guid: app.space_guid for app in tx.follow(bindings, "app")}
    count = Counter(spaces[binding.app_guid] for binding in bindings if binding.app_guid in spaces)
    own = f"{base}/v3/service_instances/{guid}"
    return {
        "usage_summary": [
            {"space": {"guid": one.space_guid}, "bound_app_count": count[one.space_guid]}
            for one in tx.find(ServiceInstanceShare, service_instance_guid=guid)
        ],
        "links": {
            "self": {"href": f"{own}/relationships/shared_spaces/usage_summary"},
            "shared_spaces": {"href": f"{own}/relationships/shared_spaces"},
            "service_instance": {"href": own},
        },
    }


def _share(acting: Acting, guid: str, spaces: list[str]) -> None:
    acting.need_enabled("service_instance_sharing")
    instance, tx = acting.change(ServiceInstance, guid), acting.tx
    targets = _targets(acting, instance, spaces)
    if not instance.managed:
        raise unprocessable("User-provided services cannot be shared.")
    place = place_of(tx, instance)
    _check_shareable(place)
    for space in targets:
        _check_target(tx, place, space)
    latest = instance.last_operation
    if latest.is_("create", "failed"):
        text = f"The service instance could not be found: {instance.name}"
        raise CloudError(404, 60004, "CF-ServiceInstanceNotFound", text)
    if latest.is_("create", "initial", "in progress"):
        raise unprocessable(
            "Service instance is currently being created. It can be shared after its creation "
            "succeeded."
        )
    if latest.is_("delete", "initial", "in progress"):
        raise unprocessable("The service instance is getting deleted.")
    for space in targets:
        have = {"service_instance_guid": guid, "space_guid": space.guid}
        if not tx.first(ServiceInstanceShare, **have):
            tx.new(ServiceInstanceShare, **have)
    data = {"target_space_guids": [space.guid for space in targets]}
    acting.audit("audit.service_instance.share", instance, data)


def _targets(acting: Acting, instance: ServiceInstance, guids: list[str]) -> list[Space]:
    """The spaces to share *instance* with; all of them seen, and all of them changeable."""
    found = {guid: acting.sees(Space, guid) for guid in guids}
    writable = {space.guid for space in acting.tx.find(Space, WRITES(acting.access), guid=guids)}
    unseen = [guid for guid, space in found.items() if space is None]
    fixed = [guid for guid in guids if guid not in unseen and guid not in writable]
    told = []
    if unseen:
        told.append(
            f"Unable to share service instance {instance.name} with spaces [{_quoted(unseen)}]. "
            "Ensure the spaces exist and that you have access to them."
        )
    if fixed:
        told.append(
            f"Unable to share service instance {instance.name} with spaces [{_quoted(fixed)}]. "
            "Write permission is required in order to share a service instance with a space."
        )
    if told:
        raise unprocessable("\n".join(told))
    return [space for space in found.values() if space is not None]


def _quoted(guids: list[str]) -> str:
    return ", ".join(f"'{guid}'" for guid in guids)


def _check_shareable(place: Place) -> None:
    offering, plan = place.offering, place.plan
    if "route_forwarding" in offering.requires:
        raise unprocessable("Route services cannot be shared.")
    if not offering.shareable:
        raise unprocessable(
            f"The {offering.name} service does not support service instance sharing."
        )
    if not plan.available:
        raise unprocessable(
            f"The service instance could not be shared as the {plan.name} plan is inactive."
        )


def _check_target(tx: Tx, place: Place, space: Space) -> None:
    instance = place.instance
    if space.guid == instance.space_guid:
        raise unprocessable(
            f"Unable to share service instance '{instance.name}' with space '{space.guid}'. "
            "Service instances cannot be shared into the space where they were created."
        )
    if not usable_in(tx, place.plan, space):
        [organization] = tx.follow([space], "organization")
        raise unprocessable(
            f"Access to service {place.offering.name} and plan {place.plan.name} is not enabled "
            f"in {organization.name}/{space.name}."
        )
    if tx.first(ServiceInstance, space_guid=space.guid, name=instance.name):
        raise unprocessable(
            f"A service instance called {instance.name} already exists in {space.name}."
        )
    others = [
        share.service_instance_guid
        for share in tx.find(ServiceInstanceShare, space_guid=space.guid)
        if share.service_instance_guid != instance.guid
    ]
    if tx.first(ServiceInstance, guid=others, name=instance.name):
        raise unprocessable(
            f"A service instance called {instance.name} has already been shared with {space.name}."
        )


def _unbind_in(acting: Acting, guid: str, space_guid: str) -> list[ServiceErrand]:
    """The errands that must be run before the instance leaves a space."""
    acting.change(ServiceInstance, guid)
    if acting.tx.get(Space, space_guid) is None:
        raise unprocessable(
            f"Unable to unshare service instance from space {space_guid}. Ensure the space exists."
        )
    return [
        promise_unbind(acting.tx, one, acting.actor) for one in _bound(acting.tx, guid, space_guid)
    ]


def _unshare(acting: Acting, guid: str, space_guid: str) -> None:
    instance, tx = acting.change(ServiceInstance, guid), acting.tx
    if left := _bound(tx, guid, space_guid):
        space = tx.need(Space, space_guid)
        told = "\n\n".join(f"\t{_why_left(instance, space, one)}" for one in left)
        raise CloudError(
            502,
            390001,
            "CF-ServiceInstanceUnshareFailed",
            "Unshare of service instance failed: \n\nUnshare of service instance failed because "
            f"one or more bindings could not be deleted.\n\n {told}",
        )
    for share in tx.find(ServiceInstanceShare, service_instance_guid=guid, space_guid=space_guid):
        tx.delete(share)
        data = {"target_space_guid": space_guid}
        acting.audit("audit.service_instance.unshare", instance, data)


def _why_left(instance: ServiceInstance, space: Space, binding: ServiceCredentialBinding) -> str:
    if binding.last_operation.state == "failed":
        return str(binding.last_operation.description)
    return (
        f"The binding between an application and service instance {instance.name} in space "
        f"{space.name} is being deleted asynchronously."
    )


def _bound(tx: Tx, guid: str, space_guid: str) -> list[ServiceCredentialBinding]:
    bindings = tx.find(ServiceCredentialBinding, service_instance_guid=guid, type="app")
    apps = {app.guid for app in tx.find(App, space_guid=space_guid)}
    return [binding for binding in bindings if binding.app_guid in apps]
