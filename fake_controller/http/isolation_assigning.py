"""Which organizations may use an isolation segment, and which of them and their spaces do."""

from __future__ import annotations

from typing import Any

from quart import Response

from fake_controller.access import MANAGERS, changed_in_organization, changed_in_space
from fake_controller.acting import Acting
from fake_controller.conditions import is_
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.relations import ToMany, ToOneOrNone
from fake_controller.model import Entitlement, IsolationSegment, Organization, Space
from fake_controller.present.shape import relationship, to_many, to_one


def routes(api: Api) -> None:
    """Entitlements of segments; the segment of an organization or of a space."""
    _entitling(api)
    _assigning(api)


def _entitling(api: Api) -> None:
    path = "/v3/isolation_segments/<guid>/relationships"

    async def entitled(guid: str) -> Response:
        def look(acting: Acting) -> list[str]:
            acting.see(IsolationSegment, guid)
            found = acting.tx.find(Entitlement, isolation_segment_guid=guid)
            return [
                o.organization_guid for o in found if acting.sees(Organization, o.organization_guid)
            ]

        own = f"{api.base}/v3/isolation_segments/{guid}"
        related = f"{own}/organizations"
        shown = to_many(await api.read(look))
        return api.json(relationship(shown, f"{own}/relationships/organizations", related=related))

    @api.get(f"{path}/organizations")
    async def organizations(guid: str) -> Response:
        return await entitled(guid)

    @api.post(f"{path}/organizations", body=ToMany)
    async def entitle(guid: str, wanted: ToMany) -> Response:
        def work(acting: Acting) -> None:
            acting.change(IsolationSegment, guid)
            for one in wanted.guids:
                if acting.sees(Organization, one) is None:
                    raise unprocessable(
                        f"Unable to entitle organizations [{one}] for isolation segment. Ensure "
                        "the organizations exist"
                    )
                fields = {"isolation_segment_guid": guid, "organization_guid": one}
                if not acting.tx.first(Entitlement, **fields):
                    acting.tx.new(Entitlement, **fields)

        await api.write(work)
        return await entitled(guid)

    @api.delete(f"{path}/organizations/<organization_guid>")
    async def revoke(guid: str, organization_guid: str) -> Response:
        def work(acting: Acting) -> None:
            acting.change(IsolationSegment, guid)
            organization = acting.see(Organization, organization_guid)
            assigned = is_("organization_guid", organization_guid) & is_(
                "isolation_segment_guid", guid
            )
            if acting.tx.first(Space, assigned):
                raise unprocessable(
                    "Cannot remove the entitlement while this Isolation Segment is assigned to "
                    "any Spaces."
                )
            if organization.default_isolation_segment_guid == guid:
                raise unprocessable(
                    "Cannot unset the Default Isolation Segment. Please change the Default "
                    "Isolation Segment for your Organization before attempting to remove the "
                    "default."
                )
            for one in acting.tx.find(Entitlement, assigned):
                acting.tx.delete(one)

        await api.write(work)
        return Response("", status=204)

    @api.get(f"{path}/spaces")
    async def spaces(guid: str) -> Response:
        def look(acting: Acting) -> list[str]:
            acting.see(IsolationSegment, guid)
            found = acting.tx.find(Space, isolation_segment_guid=guid)
            return [space.guid for space in found if acting.sees(Space, space.guid)]

        own = f"{api.base}/v3/isolation_segments/{guid}/relationships/spaces"
        return api.json(relationship(to_many(await api.read(look)), own))


def _assigning(api: Api) -> None:
    organization_path = "/v3/organizations/<guid>/relationships/default_isolation_segment"
    space_path = "/v3/spaces/<guid>/relationships/isolation_segment"

    def shown(own: str, guid: str | None) -> Response:
        related = f"{api.base}/v3/isolation_segments/{guid}" if guid else None
        return api.json(relationship(to_one(guid), f"{api.base}{own}", related=related))

    @api.get(organization_path)
    async def default(guid: str) -> Response:
        organization = await api.read(lambda acting: acting.see(Organization, guid))
        own = organization_path.replace("<guid>", guid)
        return shown(own, organization.default_isolation_segment_guid)

    @api.patch(organization_path, body=ToOneOrNone)
    async def set_default(guid: str, wanted: ToOneOrNone) -> Response:
        def work(acting: Acting) -> None:
            rule = changed_in_organization("guid", MANAGERS)
            organization = acting.change(Organization, guid, rule=rule)
            _check_entitled(acting, wanted.guid, guid, "organization")
            acting.tx.change(organization, default_isolation_segment_guid=wanted.guid)

        await api.write(work)
        return shown(organization_path.replace("<guid>", guid), wanted.guid)

    @api.get(space_path)
    async def of_space(guid: str) -> Response:
        space = await api.read(lambda acting: acting.see(Space, guid))
        return shown(space_path.replace("<guid>", guid), space.isolation_segment_guid)

    @api.patch(space_path, body=ToOneOrNone)
    async def set_of_space(guid: str, wanted: ToOneOrNone) -> Response:
        def work(acting: Acting) -> None:
            rule = changed_in_space("guid", ("organization_manager",))
            space = acting.change(Space, guid, rule=rule)
            _check_entitled(acting, wanted.guid, space.organization_guid, "space")
            acting.tx.change(space, isolation_segment_guid=wanted.guid)

        await api.write(work)
        return shown(space_path.replace("<guid>", guid), wanted.guid)


def _check_entitled(acting: Acting, segment: str | None, organization: str, of: str) -> None:
    fields: dict[str, Any] = {"isolation_segment_guid": segment, "organization_guid": organization}
    if segment is not None and not acting.tx.first(Entitlement, **fields):
        whose = "the organization" if of == "organization" else "the organization of this space"
        raise unprocessable(
            f"Unable to assign isolation segment with guid '{segment}'. Ensure it has been "
            f"entitled to {whose}."
        )
