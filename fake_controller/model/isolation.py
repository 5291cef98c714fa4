"""Where apps may run apart from others, and what they may reach from there."""

from __future__ import annotations

from typing import Any, ClassVar

from fake_controller.model.record import Record

#: The guid of the segment where everything runs that is assigned to no other; it is the same
#: on every Cloud Foundry.
SHARED_SEGMENT = "933b4c58-120b-499a-b85d-4b6fc9e2903b"


class IsolationSegment(Record, frozen=True, kw_only=True):
    """A part of the platform for some organizations alone."""

    table: ClassVar[str] = "isolation_segments"
    indexed: ClassVar[tuple[str, ...]] = ("name",)

    name: str


class Entitlement(Record, frozen=True, kw_only=True):
    """An organization may use an isolation segment."""

    table: ClassVar[str] = "entitlements"
    indexed: ClassVar[tuple[str, ...]] = ("isolation_segment_guid", "organization_guid")

    isolation_segment_guid: str
    organization_guid: str


class SecurityGroup(Record, frozen=True, kw_only=True):
    """Rules for what apps may reach, while they run or while they are staged."""

    table: ClassVar[str] = "security_groups"
    indexed: ClassVar[tuple[str, ...]] = ("name",)

    name: str
    rules: tuple[dict[str, Any], ...] = ()
    running: bool = False  # for every app that runs
    staging: bool = False  # for every build


class SecurityGroupBinding(Record, frozen=True, kw_only=True):
    """A security group counts in one space, for one phase."""

    table: ClassVar[str] = "security_group_bindings"
    indexed: ClassVar[tuple[str, ...]] = ("security_group_guid", "space_guid", "phase")

    security_group_guid: str
    space_guid: str
    phase: str  # running, staging
