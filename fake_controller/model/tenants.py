"""Who may do what where: organizations, spaces, users and their roles."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from fake_controller.model.record import Record


class Organization(Record, frozen=True, kw_only=True):
    """A tenant."""

    table: ClassVar[str] = "organizations"
    indexed: ClassVar[tuple[str, ...]] = ("name", "suspended", "organization_quota_guid")

    name: str
    suspended: bool = False
    organization_quota_guid: str | None = None
    default_isolation_segment_guid: str | None = None


class Space(Record, frozen=True, kw_only=True):
    """Where the apps of an organization live."""

    table: ClassVar[str] = "spaces"
    indexed: ClassVar[tuple[str, ...]] = ("name", "organization_guid", "space_quota_guid")

    name: str
    organization_guid: str
    space_quota_guid: str | None = None
    isolation_segment_guid: str | None = None
    features: dict[str, bool] = field(default_factory=dict)  # those that were switched


class User(Record, frozen=True, kw_only=True):
    """Somebody who may have roles. The `Account` with the same guid is how they log in."""

    table: ClassVar[str] = "users"


class Role(Record, frozen=True, kw_only=True):
    """What a user may do in one organization or in one space."""

    table: ClassVar[str] = "roles"
    indexed: ClassVar[tuple[str, ...]] = ("user_guid", "organization_guid", "space_guid", "type")

    type: str  # organization_user, space_developer, …
    user_guid: str
    organization_guid: str | None = None
    space_guid: str | None = None
