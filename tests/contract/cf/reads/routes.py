"""Routes, domains, and where they lead."""

from __future__ import annotations

from msgspec import Struct, field

from .shape import Guid, Named, Natural, Tagged, ToOne


class DomainOf(Struct):
    """Whose it is."""

    organization: ToOne


class Domain(Tagged, kw_only=True):
    """A domain; shared when its organization is null."""

    name: str
    internal: bool
    supported_protocols: list[str]
    router_group: Named | None
    relationships: DomainOf


class DestinationProcess(Struct):
    """Which process."""

    type: str


class DestinationApp(Struct):
    """Which app."""

    guid: Guid
    process: DestinationProcess


class Destination(Struct):
    """Where a route leads."""

    guid: Guid
    app: DestinationApp
    port: Natural | None
    protocol: str | None
    weight: Natural | None = None


class Destinations(Struct):
    """Where a route leads, all of it."""

    destinations: list[Destination]


class RouteOf(Struct):
    """A route's relationships."""

    space: ToOne
    domain: ToOne


class Route(Tagged, kw_only=True):
    """A route."""

    protocol: str
    host: str
    path: str
    port: Natural | None
    url: str
    destinations: list[Destination]
    relationships: RouteOf
    options: dict[str, str] = field(default_factory=dict)


class Reservation(Struct):
    """Whether there is such a route."""

    matching_route: bool
