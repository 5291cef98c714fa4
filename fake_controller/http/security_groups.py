"""Security groups: kept, bound to spaces and listed.

What apps reach is decided by ``dea.network`` for all of them alike.
"""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller.access import SPACE_MANAGERS, changed_in_space
from fake_controller.acting import Acting
from fake_controller.conditions import Condition, among, is_
from fake_controller.errors import unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import ToMany, plain
from fake_controller.model import SecurityGroup, SecurityGroupBinding, Space
from fake_controller.present.isolation import security_group
from fake_controller.present.shape import relationship, to_many
from fake_controller.security_rules import problems
from fake_controller.store import Tx

PHASES = ("running", "staging")
BOUND = "security_group_bindings[security_group_guid]"
SECURITY_GROUPS = Listing(
    kind=SecurityGroup,
    filters={
        "guids": "guid",
        "names": "name",
        "globally_enabled_running": "running",
        "globally_enabled_staging": "staging",
        "running_space_guids": lambda spaces: _bound("running", spaces),
        "staging_space_guids": lambda spaces: _bound("staging", spaces),
    },
    orders=("name",),
    gather_for=lambda acting, records: acting.those_of(
        SecurityGroupBinding, "security_group_guid", records
    ),
    present=lambda record, base, bindings: security_group(record, base, bindings[record.guid]),
)


class Globally(msgspec.Struct):
    running: bool | None = None
    staging: bool | None = None


class OfSpaces(msgspec.Struct):
    running_spaces: ToMany | None = None
    staging_spaces: ToMany | None = None


class ChangedSecurityGroup(msgspec.Struct):
    name: str | None = None
    globally_enabled: Globally | None = None
    rules: list[Any] | None = None


class NewSecurityGroup(ChangedSecurityGroup, kw_only=True):
    name: str
    relationships: OfSpaces | None = None


def routes(api: Api) -> None:
    """``/v3/security_groups``, and those of a space."""
    cc = api.cc
    api.lists("/v3/security_groups", SECURITY_GROUPS)
    api.shows("/v3/security_groups/<guid>", SECURITY_GROUPS)

    @api.post("/v3/security_groups", body=NewSecurityGroup)
    async def create(wanted: NewSecurityGroup) -> Response:
        created = await api.write(lambda acting: _create(acting, wanted))
        return await api.show(SECURITY_GROUPS, created.guid, 201)

    @api.patch("/v3/security_groups/<guid>", body=ChangedSecurityGroup)
    async def change(guid: str, wanted: ChangedSecurityGroup) -> Response:
        def work(acting: Acting) -> None:
            group = acting.change(SecurityGroup, guid)
            changed = acting.tx.change(group, **_values(acting, wanted, guid))
            acting.audit("audit.security_group.update", changed, {"request": plain(wanted)})

        await api.write(work)
        return await api.show(SECURITY_GROUPS, guid)

    @api.delete("/v3/security_groups/<guid>")
    async def delete(guid: str) -> Response:
        def begin(acting: Acting) -> None:
            acting.audit("audit.security_group.delete-request", acting.change(SecurityGroup, guid))

        def work(tx: Tx) -> None:
            for binding in tx.find(SecurityGroupBinding, security_group_guid=guid):
                tx.delete(binding)
            tx.delete(tx.need(SecurityGroup, guid))

        await api.write(begin)
        job = await cc.start_job("security_group.delete", lambda: cc.store.write(work))
        return api.accepted(job)

    for phase in PHASES:
        _binding_routes(api, phase)


def _binding_routes(api: Api, phase: str) -> None:
    path = f"/v3/security_groups/<guid>/relationships/{phase}_spaces"

    @api.post(path, body=ToMany)
    async def bind(guid: str, wanted: ToMany) -> Response:
        def work(acting: Acting) -> list[str]:
            group = acting.see(SecurityGroup, guid)
            _bind(acting, group, phase, wanted.guids)
            bindings = acting.those_of(SecurityGroupBinding, "security_group_guid", [group])
            return [one.space_guid for one in bindings[guid] if one.phase == phase]

        own = f"{api.base}/v3/security_groups/{guid}/relationships/{phase}_spaces"
        return api.json(relationship(to_many(await api.write(work)), own))

    @api.delete(f"{path}/<space_guid>")
    async def unbind(guid: str, space_guid: str) -> Response:
        def work(acting: Acting) -> None:
            group = acting.see(SecurityGroup, guid)
            bound = acting.tx.first(
                SecurityGroupBinding,
                security_group_guid=guid,
                space_guid=space_guid,
                phase=phase,
            )
            space = acting.sees(Space, space_guid)
            if bound is None or space is None:
                raise unprocessable(
                    f"Unable to unbind security group from space with guid '{space_guid}'. "
                    "Ensure the space is bound to this security group."
                )
            acting.change(Space, space_guid, rule=changed_in_space("guid", SPACE_MANAGERS))
            acting.tx.delete(bound)
            acting.audit(f"audit.security_group.unbind_{phase}", group, within=space)

        await api.write(work)
        return Response("", status=204)

    @api.route("GET", f"/v3/spaces/<guid>/{phase}_security_groups", lists=SECURITY_GROUPS)
    async def of_space(guid: str) -> Response:
        """Those that count in the space: bound to it, or for all."""
        await api.read(lambda acting: acting.see(Space, guid))
        return await api.listed(SECURITY_GROUPS, is_(phase, True) | _bound(phase, [guid]))


def _bound(phase: str, spaces: list[str]) -> Condition:
    """Groups that are bound to one of *spaces* in *phase*: one binding must match both."""
    inner = among("space_guid", spaces) & is_("phase", phase)
    return inner.seen_from(BOUND)


def _create(acting: Acting, wanted: NewSecurityGroup) -> SecurityGroup:
    acting.must_be_admin()
    values = _values(acting, wanted, "")
    group = acting.tx.new(SecurityGroup, **values)
    acting.audit("audit.security_group.create", group, {"request": plain(wanted)})
    if related := wanted.relationships:
        for phase in PHASES:
            if spaces := getattr(related, f"{phase}_spaces"):
                _bind(acting, group, phase, spaces.guids)
    return group


def _values(acting: Acting, wanted: ChangedSecurityGroup, guid: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if wanted.name is not None:
        if not wanted.name.strip():
            raise unprocessable("Name can't be blank")
        other = acting.tx.first(SecurityGroup, name=wanted.name)
        if other and other.guid != guid:
            raise unprocessable(f"Security group with name '{wanted.name}' already exists.")
        values["name"] = wanted.name
    if wanted.rules is not None:
        if wrong := problems(wanted.rules):
            raise unprocessable(", ".join(wrong))
        values["rules"] = tuple(wanted.rules)
    for phase in PHASES:
        enabled = getattr(wanted.globally_enabled, phase, None)
        if enabled is not None:
            values[phase] = enabled
    return values


def _bind(acting: Acting, group: SecurityGroup, phase: str, spaces: list[str]) -> None:
    missing = [guid for guid in spaces if acting.sees(Space, guid) is None]
    if missing:
        named = ", ".join(missing)
        raise unprocessable(
            f"Spaces with guids [{named}] do not exist, or you do not have access to them."
        )
    for guid in spaces:
        space = acting.change(Space, guid, rule=changed_in_space("guid", SPACE_MANAGERS))
        fields = {"security_group_guid": group.guid, "space_guid": guid, "phase": phase}
        if not acting.tx.first(SecurityGroupBinding, **fields):
            acting.tx.new(SecurityGroupBinding, **fields)
            acting.audit(f"audit.security_group.bind_{phase}", group, within=space)
