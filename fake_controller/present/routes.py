"""Domains, routes and where they lead. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_controller.model import Destination, Domain, Route
from fake_controller.present.shape import Json, common, to_many, to_one

APP_PORT = 8080  # of every buildpack app, whatever its PORT is here


def domain(record: Domain, base: str, shared_with: Sequence[str]) -> Json:
    """A domain; shared when it belongs to no organization, else *shared_with* some."""
    shown = common(record, base, "domains")
    own = f"{base}/v3/domains/{record.guid}"
    shown["links"]["route_reservations"] = {"href": f"{own}/route_reservations"}
    if owner := record.organization_guid:
        shown["links"] |= {
            "organization": {"href": f"{base}/v3/organizations/{owner}"},
            "shared_organizations": {"href": f"{own}/relationships/shared_organizations"},
        }
    return shown | {
        "name": record.name,
        "internal": record.internal,
        "router_group": None,
        "supported_protocols": ["http"],
        "relationships": {
            "organization": to_one(record.organization_guid),
            "shared_organizations": to_many(shared_with),
        },
    }


def destination(record: Destination) -> Json:
    """Where a route leads."""
    return {
        "guid": record.guid,
        "app": {"guid": record.app_guid, "process": {"type": record.process_type}},
        "weight": record.weight,
        "port": record.port or APP_PORT,
        "protocol": record.protocol,
    }


def shared_spaces(record: Route, base: str) -> Json:
    """The spaces besides its own to whose apps a route may lead."""
    own = f"{base}/v3/routes/{record.guid}/relationships/shared_spaces"
    return {
        "data": [{"guid": guid} for guid in record.shared_space_guids],
        "links": {"self": {"href": own}},
    }


def route(
    record: Route, base: str, domains: Mapping[str, str], destinations: Sequence[Destination]
) -> Json:
    """A route; *domains* are names by guid, *destinations* those of this route."""
    shown = common(record, base, "routes")
    shown["links"] |= {
        "space": {"href": f"{base}/v3/spaces/{record.space_guid}"},
        "domain": {"href": f"{base}/v3/domains/{record.domain_guid}"},
        "destinations": {"href": f"{base}/v3/routes/{record.guid}/destinations"},
    }
    name = f"{record.host}.{domains[record.domain_guid]}".removeprefix(".")
    port = f":{record.port}" if record.port else ""
    return shown | {
        "protocol": "http",
        "host": record.host,
        "path": record.path,
        "port": record.port,
        "url": f"{name}{port}{record.path}",
        "destinations": [destination(one) for one in destinations],
        "options": record.options,
        "relationships": {
            "space": to_one(record.space_guid),
            "domain": to_one(record.domain_guid),
        },
    }
