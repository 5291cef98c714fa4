"""Making a route: for the API, and for a manifest that names one which is not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fake_controller.acting import Acting
from fake_controller.consumption import check_route
from fake_controller.domains import usable_in
from fake_controller.errors import unprocessable
from fake_controller.model import Domain, Route, Space
from fake_controller.route_options import changed_options
from fake_controller.routing.names import check_name, check_parts, taken


def create_route(
    acting: Acting,
    space: Space,
    domain: Domain,
    *,
    host: str = "",
    path: str = "",
    port: int | None = None,
    options: Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    request: Mapping[str, Any] | None = None,
) -> Route:
    """A new route in *space*, which *acting* may change.

    Raises:
      CloudError: 422, the name is no name, is taken, or the options are wrong.
    """
    acting.need_enabled("route_creation")
    tx, host = acting.tx, host.lower()
    check_parts(host, path, port)
    if host == "*" and domain.organization_guid is None and not acting.identity.admin:
        raise unprocessable(
            "You do not have sufficient permissions to create a route with a wildcard host on a "
            "domain not scoped to an organization."
        )
    if not tx.first(Domain, usable_in(space.organization_guid), guid=domain.guid):
        raise unprocessable(
            f"Invalid domain. Domain '{domain.name}' is not available in organization "
            f"'{acting.tx.follow([space], 'organization')[0].name}'."
        )
    check_name(host, path, port, domain)
    if host and tx.first(Domain, name=f"{host}.{domain.name}"):
        raise unprocessable(f"Route conflicts with domain '{host}.{domain.name}'.")
    if tx.first(Route, host=host, domain_guid=domain.guid, path=path):
        raise unprocessable(taken(host, path, domain))
    route = tx.new(
        Route,
        space_guid=space.guid,
        domain_guid=domain.guid,
        host=host,
        path=path,
        options=changed_options({}, options or {}),
        **(labels or {}),
    )
    check_route(tx, route)
    acting.audit("audit.route.create", route, {"request": dict(request or {})})
    return route
