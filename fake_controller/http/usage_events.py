"""Usage events of apps and of services: the same routes for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quart import Response, request

from fake_controller.acting import Acting
from fake_controller.conditions import ALL, Condition
from fake_controller.errors import bad_query
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.model import AppUsageEvent, Record, ServiceUsageEvent
from fake_controller.present.usage import app_usage_event, service_usage_event
from fake_controller.store import Tx
from fake_controller.usage import seed_apps, seed_services

APP_EVENTS = Listing(
    kind=AppUsageEvent,
    filters={"guids": "guid"},
    ignored=("after_guid",),
    present=lambda record, base, _: app_usage_event(record, base),
)
SERVICE_EVENTS = Listing(
    kind=ServiceUsageEvent,
    filters={"guids": "guid", "service_instance_types": "type",
             "service_offering_guids": "service_offering_guid"},
    ignored=("after_guid",),
    present=lambda record, base, _: service_usage_event(record, base),
)  # fmt: skip


def routes(api: Api) -> None:
    """``/v3/app_usage_events`` and ``/v3/service_usage_events``."""
    _of(api, APP_EVENTS, seed_apps)
    _of(api, SERVICE_EVENTS, seed_services)


def _of(api: Api, listing: Listing[Any], seed: Callable[[Tx], None]) -> None:
    path = f"/v3/{listing.kind.table}"
    api.shows(f"{path}/<guid>", listing)

    @api.route("GET", path, lists=listing)
    async def events() -> Response:
        after = request.args.get("after_guid")
        if after is None:
            return await api.listed(listing)
        return await api.listed(listing, await api.read(lambda acting: _since(acting, after)))

    def _since(acting: Acting, guid: str) -> Condition:
        if acting.sees(listing.kind, guid) is None:
            noun = listing.kind.table.replace("_", " ").removesuffix("s")
            raise bad_query(f"After guid filter must be a valid {noun} guid.")
        return later_than(listing.kind, guid)

    @api.post(f"{path}/actions/destructively_purge_all_and_reseed")
    async def reseed() -> Response:
        def work(acting: Acting) -> None:
            acting.must_be_admin()
            seed(acting.tx)

        await api.write(work)
        return api.json({})


def later_than(kind: type[Record], guid: str) -> Condition:
    """What was noted after the record *guid*, in the order of noting."""
    sequence = f"(SELECT seq FROM {kind.table} WHERE guid = ?)"
    return ALL & Condition(f"seq > {sequence}", (guid,))
