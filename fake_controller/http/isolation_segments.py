"""Isolation segments: kept, entitled and assigned. Every app runs where all others do."""

from __future__ import annotations

import msgspec
from quart import Response

from fake_controller.acting import Acting
from fake_controller.conditions import same_text
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.organizations import ORGANIZATIONS
from fake_controller.http.relations import Metadata, new_labels, relabelled
from fake_controller.model import Entitlement, IsolationSegment
from fake_controller.model.isolation import SHARED_SEGMENT
from fake_controller.present.isolation import isolation_segment

ENTITLED = "entitlements[isolation_segment_guid].organization_guid"
SEGMENTS = Listing(
    kind=IsolationSegment,
    filters={"guids": "guid", "names": "name", "organization_guids": ENTITLED},
    orders=("name",),
    present=lambda record, base, _: isolation_segment(record, base),
)


class NewSegment(msgspec.Struct):
    name: str
    metadata: Metadata | None = None


class ChangedSegment(msgspec.Struct):
    name: str | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/isolation_segments``."""
    api.lists("/v3/isolation_segments", SEGMENTS)
    api.shows("/v3/isolation_segments/<guid>", SEGMENTS)
    api.lists(
        "/v3/isolation_segments/<guid>/organizations",
        ORGANIZATIONS,
        below=IsolationSegment,
        by="entitlements[organization_guid].isolation_segment_guid",
    )

    @api.post("/v3/isolation_segments", body=NewSegment)
    async def create(wanted: NewSegment) -> Response:
        def work(acting: Acting) -> IsolationSegment:
            acting.must_be_admin()
            _check_name(acting, wanted.name, "")
            return acting.tx.new(IsolationSegment, name=wanted.name, **new_labels(wanted))

        created = await api.write(work)
        return await api.show(SEGMENTS, created.guid, 201)

    @api.patch("/v3/isolation_segments/<guid>", body=ChangedSegment)
    async def change(guid: str, wanted: ChangedSegment) -> Response:
        def work(acting: Acting) -> None:
            segment = acting.change(IsolationSegment, guid)
            values = relabelled(segment, wanted)
            if wanted.name is not None:
                if guid == SHARED_SEGMENT:
                    raise unprocessable("Cannot update the shared Isolation Segment")
                _check_name(acting, wanted.name, guid)
                values["name"] = wanted.name
            acting.tx.change(segment, **values)

        await api.write(work)
        return await api.show(SEGMENTS, guid)

    @api.delete("/v3/isolation_segments/<guid>")
    async def delete(guid: str) -> Response:
        def work(acting: Acting) -> None:
            segment = acting.change(IsolationSegment, guid)
            if guid == SHARED_SEGMENT:
                raise unprocessable("Cannot delete the shared Isolation Segment")
            if acting.tx.first(Entitlement, isolation_segment_guid=guid):
                raise unprocessable(
                    "Revoke the Organization entitlements for your Isolation Segment."
                )
            acting.tx.delete(segment)

        await api.write(work)
        return Response("", status=204)


def _check_name(acting: Acting, name: str, guid: str) -> None:
    if not name.strip():
        raise unprocessable("Name can't be blank")
    other = acting.tx.first(IsolationSegment, same_text("name", name))
    if other and other.guid != guid:
        raise unprocessable("Isolation Segment names are case insensitive and must be unique")
