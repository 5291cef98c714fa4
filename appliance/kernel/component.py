"""The component protocol of 2012: announce, discover, /varz and /healthz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Announce:
    """Published once when a component starts; also the answer to `Discover`, with ``uptime``."""

    subject: ClassVar[str] = "vcap.component.announce"

    type: str  # Stager, DEA, CloudController, Router, HealthManager, …
    index: int | None
    uuid: str
    host: str  # "ip:port" of /varz and /healthz
    credentials: list[str]  # [user, password]
    start: str  # RFC 3339
    uptime: str | None = None  # "0d:0h:0m:4s"


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscoverComponents:
    """Every component answers with its `Announce`."""

    subject: ClassVar[str] = "vcap.component.discover"
