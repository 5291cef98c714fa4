"""Where routes lead: adding, replacing and removing destinations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fake_controller.acting import Acting
from fake_controller.errors import unprocessable
from fake_controller.model import App, Destination, Domain, Route
from fake_controller.naming import uri

MOST = 100  # destinations of a route
HTTP1 = "http1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A destination as a client asks for it: it has no port and protocol but the usual."""

    app_guid: str
    process_type: str = "web"
    port: int | None = None

    def is_at(self, one: Destination) -> bool:
        """Whether *one* leads to the same place."""
        return (self.app_guid, self.process_type) == (one.app_guid, one.process_type)


def url_of(acting: Acting, route: Route) -> str:
    """The name of *route* as people write it."""
    return uri(route, acting.tx.need(Domain, route.domain_guid).name)


def add(acting: Acting, route: Route, wanted: Sequence[Wanted]) -> None:
    """Let *route* also lead to *wanted*; raises 422 when they are too many, or one is twice."""
    have = acting.tx.find(Destination, route_guid=route.guid)
    _check(wanted, len(have))
    for one in wanted:
        if not any(one.is_at(other) for other in have):
            _new(acting, route, one)


def replace(acting: Acting, route: Route, wanted: Sequence[Wanted]) -> set[str]:
    """Let *route* lead to *wanted* and nowhere else; returns the apps that it led to."""
    have = acting.tx.find(Destination, route_guid=route.guid)
    _check(wanted, 0)
    for other in have:
        if not any(one.is_at(other) for one in wanted):
            remove(acting, route, other)
    for one in wanted:
        if not any(one.is_at(other) for other in have):
            _new(acting, route, one)
    return {other.app_guid for other in have}


def remove(acting: Acting, route: Route, one: Destination) -> None:
    """Let *route* no longer lead to *one*."""
    acting.tx.delete(one)
    if app := acting.tx.get(App, one.app_guid):
        data = {"route_guid": route.guid, "process_type": one.process_type}
        acting.audit("audit.app.unmap-route", app, data)


def available_in(route: Route, space_guid: str) -> bool:
    """Whether apps in a space can be destinations of *route*."""
    return space_guid in (route.space_guid, *route.shared_space_guids)


def check_protocol(protocol: str | None, where: str) -> None:
    """Raises 422, which begins with *where*, for what the router does not speak with apps."""
    if wrong := wrong_protocol(protocol):
        raise unprocessable(f"{where} {wrong}")


def wrong_protocol(protocol: object) -> str:
    """What is wrong with *protocol*, or nothing."""
    if protocol in (None, HTTP1):
        return ""
    return f"protocol must be '{HTTP1}': the router speaks nothing else with apps."


def _check(wanted: Sequence[Wanted], already: int) -> None:
    if already + len(wanted) > MOST:
        raise unprocessable(f"Routes can be mapped to at most {MOST} destinations.")
    if len({(one.app_guid, one.process_type) for one in wanted}) < len(wanted):
        raise unprocessable("Destinations cannot contain duplicate entries")


def _new(acting: Acting, route: Route, wanted: Wanted) -> None:
    acting.tx.new(
        Destination,
        route_guid=route.guid,
        app_guid=wanted.app_guid,
        process_type=wanted.process_type,
        port=wanted.port,
        protocol=HTTP1,
    )
    app = acting.tx.need(App, wanted.app_guid)
    data = {"route_guid": route.guid, "process_type": wanted.process_type}
    acting.audit("audit.app.map-route", app, data)
