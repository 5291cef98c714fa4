"""A unit of work on somebody's behalf: what they may not see is not there for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fake_controller.access import Access, Rule
from fake_controller.conditions import among, is_
from fake_controller.errors import (
    feature_disabled,
    missing,
    not_authorized,
    organization_suspended,
    unprocessable,
)
from fake_controller.events import Actor, record_event
from fake_controller.flags import is_skipped
from fake_controller.model import FeatureFlag, Organization, Record, Role, Space
from fake_controller.policy import POLICIES
from fake_controller.store import Tx
from fake_controller.tokens import Identity

R = TypeVar("R", bound=Record)


def access_of(tx: Tx, identity: Identity) -> Access:
    """What *identity* has now; changes of roles count at once, whatever the token's age."""
    organizations: dict[str, set[str]] = {}
    spaces: dict[str, set[str]] = {}
    # Administrators need no roles, and clients such as the registry have none.
    roles = [] if identity.admin else tx.find(Role, user_guid=identity.guid)
    for role in roles:
        if role.space_guid:
            spaces.setdefault(role.type, set()).add(role.space_guid)
        elif role.organization_guid:
            organizations.setdefault(role.type, set()).add(role.organization_guid)
    if managed := organizations.get("organization_manager"):
        spaces["organization_manager"] = {
            space.guid for space in tx.find(Space, among("organization_guid", managed))
        }
    suspended: set[str] = set()
    if roles:
        suspended = {one.guid for one in tx.find(Organization, suspended=True)}
    if suspended:
        suspended |= {one.guid for one in tx.find(Space, organization_guid=suspended)}
    return Access(
        identity=identity,
        organizations={type_: frozenset(guids) for type_, guids in organizations.items()},
        spaces={type_: frozenset(guids) for type_, guids in spaces.items()},
        suspended=frozenset(suspended),
    )


@dataclass(frozen=True, slots=True)
class Acting:
    """One transaction, and who it is for."""

    tx: Tx
    access: Access

    @property
    def identity(self) -> Identity:
        """Who it is for."""
        return self.access.identity

    @property
    def actor(self) -> Actor:
        """Who it is for, as events name them."""
        return Actor(guid=self.identity.guid, name=self.identity.name, type=self.identity.type)

    def sees(self, kind: type[R], guid: str | None) -> R | None:
        """The record, or None when there is none that they may see."""
        return self._where(kind, guid, POLICIES[kind].seen)

    def those_of(self, kind: type[R], field: str, records: Sequence[Record]) -> dict[str, list[R]]:
        """The records of *kind* that they see and whose *field* leads to *records*, by guid."""
        seen = POLICIES[kind].seen(self.access)
        found: dict[str, list[R]] = {record.guid: [] for record in records}
        for one in self.tx.find(kind, seen, among(field, found)):
            found[getattr(one, field)].append(one)
        return found

    def see(self, kind: type[R], guid: str | None) -> R:
        """The record; raises "App not found" and the like."""
        record = self.sees(kind, guid)
        if record is None:
            raise missing(kind.noun())
        return record

    def change(self, kind: type[R], guid: str | None, *, rule: Rule | None = None) -> R:
        """The record, which they may change: by its policy, or by *rule* where given.

        Raises:
          CloudError: 404 when they do not even see it, 403 when they only see it.
        """
        record = self.see(kind, guid)
        self._must(kind, guid, rule or POLICIES[kind].changed)
        return record

    def may(self, kind: type[R], guid: str | None, rule: Rule) -> bool:
        """Whether *rule* lets them do something with the record."""
        return self._where(kind, guid, rule) is not None

    def into(self, kind: type[R], guid: str | None, *, rule: Rule) -> R:
        """The record, named in a body, in which they may make something new.

        Raises:
          CloudError: 422 "Invalid space. Ensure that …" or 403.
        """
        record = self.named(kind, guid)
        self._must(kind, guid, rule)
        return record

    def named(self, kind: type[R], guid: str | None) -> R:
        """The record that a body refers to; raises 422 "Invalid space. Ensure that …"."""
        record = self.sees(kind, guid)
        if record is None:
            noun = kind.noun().lower()
            raise unprocessable(
                f"Invalid {noun}. Ensure that the {noun} exists and you have access to it."
            )
        return record

    def enabled(self, flag: str) -> bool:
        """Whether a feature flag lets them do what it is about."""
        return is_skipped(flag, self.identity) or self.tx.need(FeatureFlag, flag).enabled

    def need_enabled(self, flag: str) -> None:
        """Raises 403 with the flag's own message, or its name, unless it is `enabled`."""
        if not self.enabled(flag):
            message = self.tx.need(FeatureFlag, flag).custom_error_message
            raise feature_disabled(message or flag)

    def must_be_admin(self) -> None:
        """Raises 403 for everybody else."""
        if not self.identity.admin:
            raise not_authorized()

    def audit(
        self,
        type_: str,
        target: Record,
        data: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        within: Record | None = None,
    ) -> None:
        """Note that they did *type_* (``audit.app.create``) to *target*.

        *name* and *within* are for targets that do not say themselves what they are called,
        and in which space or organization it was.
        """
        record_event(self.tx, type_, self.actor, target, data or {}, name=name, within=within)

    def _must(self, kind: type[R], guid: str | None, rule: Rule) -> None:
        if self._where(kind, guid, rule) is not None:
            return
        roused = replace(self.access, suspended=frozenset())
        if self.tx.first(kind, is_("guid", guid or ""), rule(roused)):
            raise organization_suspended()
        raise not_authorized()

    def _where(self, kind: type[R], guid: str | None, rule: Rule) -> R | None:
        return self.tx.first(kind, is_("guid", guid or ""), rule(self.access))
