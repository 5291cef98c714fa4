"""Giving a role: for the API, and for who founds an organization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fake_controller.accounts import presentation_name
from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.model import Organization, Role, Space, User


def give_role(
    acting: Acting,
    type_: str,
    user: User,
    where: Organization | Space,
    request: Mapping[str, Any] | None = None,
) -> Role:
    """Give *user* the role; raises 422 when they have it.

    Source: the texts are Cloud Controller's, and clients take them for success.
    """
    tx = acting.tx
    field = "space_guid" if isinstance(where, Space) else "organization_guid"
    name = presentation_name(tx, user.guid)
    if tx.first(Role, type=type_, user_guid=user.guid, **{field: where.guid}):
        noun = where.noun().lower()
        raise unprocessable(f"User '{name}' already has '{type_}' role in {noun} '{where.name}'.")
    data = {"request": dict(request)} if request else {}
    acting.audit(f"audit.user.{type_}_add", user, data, name=name, within=where)
    values: dict[str, str] = {field: where.guid}
    return tx.new(Role, type=type_, user_guid=user.guid, **values)
