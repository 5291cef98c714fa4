"""Changes of an app over time: deployments, and the revisions that can be gone back to."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from fake_controller.model.record import Record


class Deployment(Record, frozen=True, kw_only=True):
    """A change of droplet without a gap: a second web process grows, the first shrinks."""

    table: ClassVar[str] = "deployments"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "status_value", "new_process_guid")

    app_guid: str
    droplet_guid: str
    previous_droplet_guid: str | None
    old_process_guid: str
    new_process_guid: str
    original: int = 0  # instances before
    instances: int  # wanted in the end
    status_value: str = "ACTIVE"  # FINALIZED
    status_reason: str = "DEPLOYING"  # PAUSED DEPLOYED CANCELING CANCELED SUPERSEDED
    status_changed_at: float = 0.0
    strategy: str = "rolling"  # or canary
    max_in_flight: int = 1
    canary_weights: tuple[int, ...] = ()  # percents of the instances, one for each step
    canary_step: int = 1  # the one that is, or was, worked on
    canary_steps: int = 0  # how many there are; 0 for a rolling deployment
    options: dict[str, int] = field(default_factory=dict)  # what was asked for of the new process
    revision_guid: str | None = None
    revision_version: int | None = None


class Revision(Record, frozen=True, kw_only=True):
    """What an app was when it started: code, environment and commands."""

    table: ClassVar[str] = "revisions"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid",)

    app_guid: str
    version: int  # counts from 1 for each app
    droplet_guid: str
    environment: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str | None] = field(default_factory=dict)  # by process type; None: its own
    description: str = ""
