"""The routes of a manifest: what each URL says, and what else is asked of it. Pure."""

from __future__ import annotations

import re
from typing import Any

from fake_controller.manifest.payload import RouteManifest
from fake_controller.route_options import KNOWN, WAYS
from fake_controller.routing.destinations import wrong_protocol

_URL = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>[^\s/:?#@\[\]]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<path>/[^\s?#]*)?",
    re.IGNORECASE,
)


def check_routes(app: dict[str, Any], errors: list[str]) -> tuple[RouteManifest, ...] | None:
    """The routes that *app* lists, or None when it lists none; also the three switches."""
    errors += [
        f"{key.replace('_', '-').capitalize()} must be a boolean"
        for key in ("default_route", "no_route", "random_route")
        if not isinstance(app.get(key), bool | None)
    ]
    if app.get("random_route") and app.get("default_route"):
        errors.append("Random-route and default-route may not be used together")
    if "routes" not in app:
        return None
    listed = app["routes"]
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and one.get("route") for one in listed
    ):
        errors.append("Routes must be a list of route objects")
        return None
    return tuple(_check(one, errors) for one in listed)


def _check(given: dict[Any, Any], errors: list[str]) -> RouteManifest:
    url, protocol = str(given["route"]), given.get("protocol")
    parsed = parse_url(url)
    if parsed is None:
        errors.append(f"The route '{url}' is not a properly formed URL")
        parsed = "", None, ""
    if wrong := wrong_protocol(protocol):
        errors.append(f"Route {wrong}")
    host, port, path = parsed
    return RouteManifest(
        url=url,
        host=host,
        port=port,
        path=path,
        options=_options(url, given, errors),
    )


def parse_url(url: str) -> tuple[str, int | None, str] | None:
    """Host with domain, port and path of ``host.domain[:port][/path]``; None: it is not that."""
    match = _URL.fullmatch(url)
    if match is None:
        return None
    scheme, port = (match["scheme"] or "").lower(), match["port"]
    # Only a TCP route has a port, and only HTTP has two names for itself.
    if scheme not in (("", "tcp") if port else ("", "http", "https")):
        return None
    return match["host"].lower(), int(port) if port else None, match["path"] or ""


def _options(url: str, given: dict[Any, Any], errors: list[str]) -> dict[str, str | None]:
    options = given.get("options")
    if options is None:
        if "options" in given:
            errors.append(f"Route '{url}': options must be an object")
        return {}
    if not isinstance(options, dict):
        errors.append(f"Route '{url}': options must be an object")
        return {}
    errors += [
        f"Route '{url}' contains invalid route option '{key}'. Valid keys: '{', '.join(KNOWN)}'"
        for key in options
        if key not in KNOWN
    ]
    found = {str(key): None if one is None else str(one) for key, one in options.items()}
    balancing = found.get("loadbalancing")
    if "loadbalancing" in options and balancing not in WAYS:
        errors.append(
            f"Cannot use loadbalancing value '{balancing or ''}' for Route '{url}'; "
            f"Valid values are: '{', '.join(WAYS)}'"
        )
    for key in ("hash_header", "hash_balance"):
        if found.get(key) and balancing not in (None, "hash"):
            label = key.replace("_", " ").capitalize()
            errors.append(f"Route '{url}': {label} can only be set when loadbalancing is hash")
    if (balance := found.get("hash_balance")) and not _is_number(balance):
        errors.append(f"Route '{url}': Hash balance must be a numeric value")
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d{1,16}(\.\d{1,16})?", text) is not None


def candidates(host: str) -> list[tuple[str, str]]:
    """Host and domain that *host* may be made of, the longest domain first."""
    label, _, rest = host.partition(".")
    split = [(label, rest)] if rest else []
    return split if label == "*" else [("", host), *split]
