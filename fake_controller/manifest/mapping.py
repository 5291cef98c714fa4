"""The routes of a manifest become routes and destinations of an app."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fake_controller.acting import Acting
from fake_controller.errors import CloudError, unprocessable
from fake_controller.manifest.payload import AppManifest, RouteManifest
from fake_controller.manifest.routes import candidates
from fake_controller.manifest.words import random_words
from fake_controller.model import App, Destination, Domain, Route, Space
from fake_controller.route_options import changed_options
from fake_controller.routing.creating import create_route
from fake_controller.routing.destinations import (
    Wanted,
    add,
    available_in,
    remove,
)

MOST_HOST = 63
_HOST = re.compile(r"[A-Za-z0-9_-]+")
RANDOM_DIGITS = 16  # hexadecimal


def apply_routes(acting: Acting, app: App, manifest: AppManifest) -> bool:
    """Map, make or unmap what *manifest* says; whether anything may have changed."""
    have = acting.tx.find(Destination, app_guid=app.guid)
    if manifest.no_route:
        for one in have:
            remove(acting, acting.tx.need(Route, one.route_guid), one)
        return bool(have)
    if manifest.routes is not None:
        _map_all(acting, app, manifest.routes)
        return bool(manifest.routes)
    if have or not (manifest.random_route or manifest.default_route):
        return False
    host = app.name
    if manifest.random_route:
        host = f"{app.name}-{random_words(int(acting.tx.ids.hex(RANDOM_DIGITS), 16))}"
    else:
        _check_host(host)
    domain = default_domain(acting)
    name = f"{host}.{domain.name}"
    _map_all(acting, app, [RouteManifest(url=name, host=name.lower())])
    return True


def default_domain(acting: Acting) -> Domain:
    """Where an app gets a route that nobody named: the first shared domain."""
    domain = acting.tx.first(Domain, organization_guid=None, internal=False)
    if domain is None:
        raise unprocessable("No default domains available")
    return domain


def _check_host(name: str) -> None:
    prefix = "Failed to create default route from app name:"
    if len(name) > MOST_HOST:
        raise unprocessable(f"{prefix} Host cannot exceed {MOST_HOST} characters")
    if not _HOST.fullmatch(name):
        raise unprocessable(
            f'{prefix} Host must be either "*" or contain only alphanumeric characters, "_", or "-"'
        )


def _map_all(acting: Acting, app: App, wanted: Sequence[RouteManifest]) -> None:
    space = acting.tx.need(Space, app.space_guid)
    # All routes first, so that a manifest with a wrong one maps none.
    found = []
    for one in wanted:
        with _told_of(one):
            found.append((_find_or_create(acting, space, one), one))
    for route, one in found:
        with _told_of(one):
            add(acting, route, [Wanted(app_guid=app.guid)])


def _find_or_create(acting: Acting, space: Space, wanted: RouteManifest) -> Route:
    tx = acting.tx
    for host, name in candidates(wanted.host):
        domain = tx.first(Domain, name=name)
        if domain is None or acting.sees(Domain, domain.guid) is None:
            continue
        route = tx.first(Route, host=host, domain_guid=domain.guid, path=wanted.path)
        if route is None:
            return create_route(
                acting,
                space,
                domain,
                host=host,
                path=wanted.path,
                port=wanted.port,
                options=wanted.options,
                request={"route": wanted.url},
            )
        if not available_in(route, space.guid):
            raise unprocessable("Routes cannot be mapped to destinations in different spaces")
        if wanted.options:
            return tx.change(route, options=changed_options(route.options, wanted.options))
        return route
    raise _NoDomain(f"No domains exist for route {wanted.url}")


class _NoDomain(CloudError):
    """The one error that names the route by itself."""

    def __init__(self, detail: str) -> None:
        super().__init__(422, 10008, "CF-UnprocessableEntity", detail)


@contextmanager
def _told_of(route: RouteManifest) -> Iterator[None]:
    try:
        yield
    except _NoDomain:
        raise
    except CloudError as error:
        detail = f"For route '{route.url}': {error}"
        raise CloudError(error.http, error.number, error.title, detail) from error
