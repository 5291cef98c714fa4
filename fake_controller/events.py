"""Audit events: each is written in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fake_controller.conditions import reference_of
from fake_controller.model import (
    App,
    AuditEvent,
    Organization,
    Record,
    Route,
    ServiceCredentialBinding,
    ServiceInstance,
    ServiceOffering,
    Space,
)
from fake_controller.store import Tx

HIDDEN = "[PRIVATE DATA HIDDEN]"  # what stands for secrets in what people have asked for
KEPT = 20_000  # events; older ones are forgotten
PRUNED = 500  # at a time, so that pruning is rare


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who did it: a user, a client, or a process by itself."""

    guid: str
    name: str
    type: str = "user"


BY_ITSELF = Actor(guid="", name="", type="system")


def record_event(
    tx: Tx,
    type_: str,
    actor: Actor,
    target: Record,
    data: Mapping[str, Any],
    *,
    name: str | None = None,
    within: Record | None = None,
) -> AuditEvent:
    """Store that *actor* did *type_* to *target*, which is *within* a space or organization."""
    within = within or target
    space = _space(tx, within)
    if space:
        organization: str | None = space.organization_guid
    elif isinstance(within, Organization):
        organization = within.guid
    else:
        organization = getattr(within, "organization_guid", None)
    if tx.count(AuditEvent) >= KEPT + PRUNED:
        for old in tx.find(AuditEvent, limit=PRUNED):
            tx.delete(old)
    return tx.new(
        AuditEvent,
        type=type_,
        actor={"guid": actor.guid, "type": actor.type, "name": actor.name},
        target={
            "guid": target.guid,
            "type": _type(target),
            "name": str(getattr(target, "name", "") or "") if name is None else name,
        },
        target_guid=target.guid,
        data=dict(data),
        space_guid=space.guid if space else None,
        organization_guid=organization,
    )


def _type(target: Record) -> str:
    """What events call the kind of *target*: some records are of two kinds there."""
    if isinstance(target, ServiceInstance) and not target.managed:
        return "user_provided_service_instance"
    if isinstance(target, ServiceCredentialBinding):
        return "service_key" if target.type == "key" else "service_binding"
    if isinstance(target, ServiceOffering):
        return "service"
    return reference_of(target.table)


def _space(tx: Tx, record: Record) -> Space | None:
    """The space that *record* is, or is in, or whose app, route or service it is about."""
    if isinstance(record, Space):
        return record
    kinds: tuple[type[App | Route | ServiceInstance], ...] = (App, Route, ServiceInstance)
    for kind in kinds:
        if owner := tx.get(kind, getattr(record, f"{reference_of(kind.table)}_guid", None)):
            return tx.get(Space, owner.space_guid)
    return tx.get(Space, getattr(record, "space_guid", None))
