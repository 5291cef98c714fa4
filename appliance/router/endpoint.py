"""One instance that listens, as registrations tell of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Address = tuple[str, int]


@dataclass(slots=True, eq=False)
class Endpoint:
    """One instance that listens. It may be in several routes."""

    host: str
    port: int
    app: str = ""  # the app's guid; "" when it was not told
    instance: str = ""  # private_instance_id
    index: str = ""
    tags: dict[str, Any] = field(default_factory=dict)
    active: int = 0  # requests in flight
    failed_until: float = 0.0  # skipped until then
    address: Address = field(init=False)  # by which registrations name it
    fields: bytes = field(init=False)  # X-Cf- lines for its requests, each with its end

    def __post_init__(self) -> None:
        self.address = self.host, self.port
        self.describe(self)

    def describe(self, newer: Endpoint) -> None:
        """Take over what a *newer* registration of the same instance knows."""
        self.app, self.index = newer.app or self.app, newer.index or self.index
        self.instance, self.tags = newer.instance or self.instance, newer.tags
        named = (
            ("X-Cf-Applicationid", self.app),
            ("X-Cf-Instanceid", self.instance),
            ("X-Cf-Instanceindex", self.index),
        )
        lines = [f"{name}: {value}\r\n" for name, value in named if value.isprintable() and value]
        self.fields = "".join(lines).encode()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
