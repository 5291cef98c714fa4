"""Routes, domains and what they lead to."""

from __future__ import annotations

from typing import Any

import pytest

from .cli import Cf
from .reads import App, Destinations, Domain, Reservation, Route, Space
from .steps import DOMAIN, domain, look, mapped, new_app, new_route, organization, routes_of, to


def test_create_route(cf: Cf) -> None:
    """A host, a domain, a space; ``cf create-route`` again exits 0 by these words."""
    route = new_route(cf, cf.name)

    assert route.url == f"{cf.name}.{DOMAIN}"
    assert (route.protocol, route.path, route.port, route.destinations) == ("http", "", None, [])
    assert route.relationships.space.guid == cf.space
    body = {
        "host": cf.name,
        "relationships": {"domain": to(domain(cf).guid), "space": to(cf.space)},
    }
    detail = cf.refused("POST", "/v3/routes", body)
    assert detail == f"Route already exists with host '{cf.name}' for domain '{DOMAIN}'."


def test_create_route_with_a_path(cf: Cf) -> None:
    """The path is told when there is such a route."""
    route = new_route(cf, cf.name, path="/p")

    assert (route.path, route.url) == ("/p", f"{cf.name}.{DOMAIN}/p")
    body = {
        "host": cf.name,
        "path": "/p",
        "relationships": {"domain": to(domain(cf).guid), "space": to(cf.space)},
    }
    detail = cf.refused("POST", "/v3/routes", body)
    text = f"Route already exists with host '{cf.name}' and path '/p' for domain '{DOMAIN}'."
    assert detail == text


def test_map_route(cf: Cf) -> None:
    """Looked up without a path, then made, then mapped; all destinations come back."""
    app = new_app(cf)
    new_route(cf, cf.name, path="/p")
    domain(cf)
    look(cf, "a")
    assert routes_of(cf, cf.name) == []

    route = new_route(cf, cf.name)
    path = f"/v3/routes/{route.guid}/destinations"
    [made] = cf.post(path, {"destinations": [{"app": {"guid": app.guid}}]}, Destinations,
                     200).destinations  # fmt: skip

    assert (made.app.guid, made.app.process.type, made.protocol) == (app.guid, "web", "http1")
    [found] = routes_of(cf, cf.name)
    assert [one.guid for one in found.destinations] == [made.guid]


def test_unmap_route(cf: Cf) -> None:
    """One destination, at once."""
    app = new_app(cf)
    route = mapped(cf, cf.name, app)
    [found] = routes_of(cf, cf.name)

    cf.gone(f"/v3/routes/{route.guid}/destinations/{found.destinations[0].guid}")

    assert cf.get(f"/v3/routes/{route.guid}", Route).destinations == []


def test_routes(cf: Cf) -> None:
    """``cf routes``: the spaces and all the apps by guid, and the services in between."""
    apps = [new_app(cf, name) for name in ("a", "b")]
    routes = [mapped(cf, f"{cf.name}-{app.name}", app) for app in apps]

    found = cf.list(f"/v3/routes?per_page=5000&space_guids={cf.space}", Route)
    assert {route.guid for route in found} == {route.guid for route in routes}
    assert all(route.url == f"{route.host}.{DOMAIN}" for route in found)
    assert cf.one(f"/v3/spaces?guids={cf.space}", Space).name == "s"
    guids = ",".join(app.guid for app in apps)
    assert {app.name for app in cf.list(f"/v3/apps?guids={guids}", App)} == {"a", "b"}
    guids = ",".join(route.guid for route in routes)
    path = f"/v3/service_route_bindings?include=service_instance&route_guids={guids}"
    page = cf.send("GET", path, status=200).json
    assert (page["resources"], page["included"]) == ([], {"service_instances": []})


def test_delete_route(cf: Cf) -> None:
    """By a job; then there is none."""
    new_route(cf, cf.name)
    [route] = routes_of(cf, cf.name)

    cf.deleted(f"/v3/routes/{route.guid}", "route.delete")

    assert routes_of(cf, cf.name) == []


def test_delete_orphaned_routes(cf: Cf) -> None:
    """What leads somewhere stays."""
    kept = mapped(cf, f"{cf.name}-kept", new_app(cf))
    new_route(cf, f"{cf.name}-orphan")

    path = f"/v3/spaces/{cf.space}/routes?unmapped=true"
    cf.deleted(path, "space.delete_unmapped_routes")

    left = cf.list(f"/v3/routes?per_page=5000&space_guids={cf.space}", Route)
    assert [route.guid for route in left] == [kept.guid]


def test_check_route(cf: Cf) -> None:
    """With a path and without; a path that is empty is one that is not there."""
    new_route(cf, cf.name)
    own = f"/v3/domains/{domain(cf).guid}/route_reservations"

    assert cf.get(f"{own}?host={cf.name}", Reservation).matching_route
    assert cf.get(f"{own}?host={cf.name}&path=", Reservation).matching_route
    assert not cf.get(f"{own}?host={cf.name}&path=/p", Reservation).matching_route
    assert not cf.get(f"{own}?host=not-{cf.name}", Reservation).matching_route


def test_route_options(cf: Cf) -> None:
    """``cf update-route -o loadbalancing=…``; texts only."""
    route = new_route(cf, cf.name)
    path = f"/v3/routes/{route.guid}"

    body = {"options": {"loadbalancing": "least-connection"}}
    assert cf.patch(path, body, Route).options == {"loadbalancing": "least-connection"}
    assert cf.patch(path, {"options": {"loadbalancing": None}}, Route).options == {}


def test_domains(cf: Cf) -> None:
    """``cf domains``: the shared ones and the organization's own; the default is shared."""
    organization(cf, cf.name)
    name = f"{cf.name}.example.com"
    body = {"name": name, "relationships": {"organization": to(cf.org)}}
    private = cf.post("/v3/domains", body, Domain)
    assert private.relationships.organization.guid == cf.org

    listed = cf.list(f"/v3/organizations/{cf.org}/domains", Domain)
    assert {DOMAIN, name} <= {one.name for one in listed}
    default = cf.get(f"/v3/organizations/{cf.org}/domains/default", Domain)
    assert (default.name, default.relationships.organization.data) == (DOMAIN, None)
    cf.deleted(f"/v3/domains/{domain(cf, name).guid}", "domain.delete")


def test_create_shared_domain(cf: Cf) -> None:
    """Without an organization; a name that is taken is told."""
    name = f"{cf.name}.example.org"

    shared = cf.post("/v3/domains", {"name": name, "internal": False}, Domain)

    assert shared.relationships.organization.data is None
    assert "http" in shared.supported_protocols
    detail = cf.refused("POST", "/v3/domains", {"name": name, "internal": False})
    assert detail == f'The domain name "{name}" is already in use'
    cf.deleted(f"/v3/domains/{shared.guid}", "domain.delete")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "Missing host. Routes in shared domains must have a host defined."),
        ({"host": ""}, "Missing host. Routes in shared domains must have a host defined."),
        (
            {"host": "a b"},
            'Host must be either "*" or contain only alphanumeric characters, "_", or "-"',
        ),
    ],
)
def test_routes_are_refused_in_known_words(cf: Cf, body: dict[str, Any], detail: str) -> None:
    """The CLI shows them as they are."""
    relations = {"domain": to(domain(cf).guid), "space": to(cf.space)}

    assert cf.refused("POST", "/v3/routes", body | {"relationships": relations}) == detail
