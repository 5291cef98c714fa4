"""The names that the router answers."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from fake_controller.model.record import Record


class Domain(Record, frozen=True, kw_only=True):
    """The part of a route's name after its host."""

    table: ClassVar[str] = "domains"
    indexed: ClassVar[tuple[str, ...]] = ("name", "organization_guid")

    name: str
    internal: bool = False
    organization_guid: str | None = None  # None: shared


class DomainShare(Record, frozen=True, kw_only=True):
    """A private domain that one more organization may use."""

    table: ClassVar[str] = "domain_shares"
    indexed: ClassVar[tuple[str, ...]] = ("domain_guid", "organization_guid")

    domain_guid: str
    organization_guid: str


class Route(Record, frozen=True, kw_only=True):
    """A name that the router answers."""

    table: ClassVar[str] = "routes"
    indexed: ClassVar[tuple[str, ...]] = ("host", "domain_guid", "space_guid", "path")

    space_guid: str
    domain_guid: str
    host: str = ""
    path: str = ""
    port: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    shared_space_guids: tuple[str, ...] = ()  # besides its own: whose apps it may lead to


class Destination(Record, frozen=True, kw_only=True):
    """A route leads to a process type of an app."""

    table: ClassVar[str] = "destinations"
    indexed: ClassVar[tuple[str, ...]] = ("route_guid", "app_guid")

    route_guid: str
    app_guid: str
    process_type: str = "web"
    port: int | None = None
    weight: int | None = None
    protocol: str = "http1"
