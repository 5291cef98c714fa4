"""Quotas of organizations and of spaces: what is served for both in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quart import Response

from fake_controller.acting import Acting
from fake_controller.conditions import is_, same_text
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.quota_bodies import ChangedQuota, values_of
from fake_controller.http.relations import ToMany
from fake_controller.model import Organization, Process, Quota, Space
from fake_controller.present.shape import relationship, to_many
from fake_controller.store import Tx

NAME_MOST = 250  # characters
NAMED = 2  # places that a refusal names; the others are counted


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """One of the two kinds of quotas, and what its quotas are applied to."""

    listing: Listing[Any]
    places: type[Organization] | type[Space]
    field: str  # of a place: the guid of its quota
    #: Those of the guids that they see and that a quota may be applied to; raises for others.
    find: Callable[[Acting, Quota, list[str]], Sequence[Organization | Space]]
    in_use: str  # why one that is applied is not deleted

    @property
    def kind(self) -> type[Quota]:
        """The records."""
        return self.listing.kind

    def places_of(self, tx: Tx, guid: str) -> Sequence[Organization | Space]:
        """What a quota is applied to."""
        return tx.find(self.places, is_(self.field, guid))

    def event(self, what: str) -> str:
        """The type of the audit event: ``audit.space_quota.apply``."""
        return f"audit.{self.kind.noun().lower().replace(' ', '_')}.{what}"


def serve(api: Api, quotas: Quotas) -> None:
    """Lists, one, change, delete, and what it is applied to; making one is the kind's own."""
    path, cc = f"/v3/{quotas.kind.table}", api.cc
    api.lists(path, quotas.listing)
    api.shows(f"{path}/<guid>", quotas.listing)

    @api.patch(f"{path}/<guid>", body=ChangedQuota)
    async def change(guid: str, wanted: ChangedQuota) -> Response:
        await api.write(lambda acting: _change(acting, quotas, guid, wanted))
        return await api.show(quotas.listing, guid)

    @api.delete(f"{path}/<guid>")
    async def delete(guid: str) -> Response:
        def begin(acting: Acting) -> None:
            quota = acting.change(quotas.kind, guid)
            if quotas.places_of(acting.tx, guid):
                raise unprocessable(quotas.in_use)
            acting.audit(quotas.event("delete"), quota)

        def work(tx: Tx) -> None:
            tx.delete(tx.need(quotas.kind, guid))

        await api.write(begin)
        operation = quotas.event("delete").removeprefix("audit.")
        return api.accepted(await cc.start_job(operation, lambda: cc.store.write(work)))

    relations = f"<guid>/relationships/{quotas.places.table}"

    @api.post(f"{path}/{relations}", body=ToMany)
    async def apply_to(guid: str, wanted: ToMany) -> Response:
        def work(acting: Acting) -> list[str]:
            apply(acting, quotas, acting.change(quotas.kind, guid), wanted.guids)
            return [one.guid for one in quotas.places_of(acting.tx, guid)]

        own = f"{api.base}{path}/{relations.replace('<guid>', guid)}"
        return api.json(relationship(to_many(await api.write(work)), own))


def apply(acting: Acting, quotas: Quotas, quota: Quota, guids: list[str]) -> None:
    """From now on *quota* counts in the places of those *guids*."""
    places = quotas.find(acting, quota, guids)
    check_log_rate_of_new(acting, quota, places)
    for place in places:
        acting.tx.change(place, **{quotas.field: quota.guid})
        acting.audit(quotas.event("apply"), quota, within=place)


def _change(acting: Acting, quotas: Quotas, guid: str, wanted: ChangedQuota) -> None:
    quota = acting.change(quotas.kind, guid)
    values = values_of(wanted, quotas.kind)
    if wanted.name is not None and wanted.name != quota.name:
        organization = getattr(quota, "organization_guid", None)
        check_name(acting, quotas.kind, wanted.name, organization=organization)
        values["name"] = wanted.name
    check_log_rate_of_old(acting, values, quotas.places_of(acting.tx, guid))
    acting.tx.change(quota, **values)
    acting.audit(quotas.event("update"), quota, {"request": values})


def check_name(
    acting: Acting, kind: type[Quota], name: str, *, organization: str | None = None
) -> None:
    """Names are unique: of organization quotas everywhere, of space quotas in *organization*."""
    if not 1 <= len(name) <= NAME_MOST:
        long = len(name) > NAME_MOST
        which, much = ("long", f"maximum is {NAME_MOST}") if long else ("short", "minimum is 1")
        raise unprocessable(f"Name is too {which} ({much} characters)")
    there = [is_("organization_guid", organization)] if organization else []
    if acting.tx.first(kind, same_text("name", name), *there):
        noun = kind.__name__.removesuffix("Quota")
        raise unprocessable(f"{noun} Quota '{name}' already exists.")


def unlimited(acting: Acting, places: Sequence[Organization | Space]) -> list[str]:
    """Names of those *places* in which a process has no log rate limit."""
    path = {Organization: "app.space.organization_guid", Space: "app.space_guid"}
    return sorted(
        place.name
        for place in places
        if acting.tx.first(Process, is_(path[type(place)], place.guid), log_rate=-1)
    )


def check_log_rate_of_new(
    acting: Acting, quota: Quota, places: Sequence[Organization | Space]
) -> None:
    """Raises when *quota*, about to be applied to *places*, limits what has no limit there."""
    if quota.log_rate_limit_in_bytes_per_second is not None and unlimited(acting, places):
        noun = "org" if isinstance(places[0], Organization) else "space"
        raise unprocessable(
            f"Current usage exceeds new quota values. The {noun}(s) being assigned this quota "
            "contain apps running with an unlimited log rate limit."
        )


def check_log_rate_of_old(
    acting: Acting, values: Mapping[str, Any], places: Sequence[Organization | Space]
) -> None:
    """Raises when the new *values* of a quota of *places* limit what has no limit there."""
    if values.get("log_rate_limit_in_bytes_per_second") is None:
        return
    names = unlimited(acting, places)
    if not names:
        return
    noun = "org" if isinstance(places[0], Organization) else "space"
    which = "', '".join(names[:NAMED])
    if len(names) == 1:
        where = f"{noun} '{which}' which contains"
    elif len(names) > NAMED:
        where = f"{noun}s '{which}' and {len(names) - NAMED} other {noun}s which contain"
    else:
        where = f"{noun}s '{which}' which contain"
    raise unprocessable(
        f"Current usage exceeds new quota values. This quota is applied to {where} "
        "apps running with an unlimited log rate limit."
    )
