"""Changes of droplet without a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fake_controller.model.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment(Record):
    """A change of droplet without a gap: a second web process grows, the first shrinks."""

    table: ClassVar[str] = "deployments"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "status_value")

    app_guid: str
    droplet_guid: str
    previous_droplet_guid: str | None
    old_process_guid: str
    new_process_guid: str
    instances: int  # wanted in the end
    status_value: str = "ACTIVE"  # FINALIZED
    status_reason: str = "DEPLOYING"  # DEPLOYED CANCELING CANCELED SUPERSEDED
    status_changed_at: float = 0.0
    strategy: str = "rolling"
    max_in_flight: int = 1
