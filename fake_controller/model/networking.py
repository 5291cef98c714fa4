"""Which apps may reach which others."""

from __future__ import annotations

from typing import ClassVar

from fake_controller.model.record import Record


class NetworkPolicy(Record, frozen=True, kw_only=True):
    """One app may reach ports of another."""

    table: ClassVar[str] = "network_policies"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "destination_guid")

    app_guid: str  # the one that calls
    destination_guid: str  # the app that is called
    protocol: str  # tcp or udp
    first_port: int
    last_port: int
