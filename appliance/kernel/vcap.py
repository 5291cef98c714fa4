"""What apps are told of the services bound to them, while they are built and run. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

#: What an app is told of a bound service; the rest is not its business.
SERVICE_KEYS = (
    "name", "label", "provider", "plan", "tags", "plan_option", "credentials", "binding_guid",
    "binding_name", "instance_guid", "instance_name", "volume_mounts", "syslog_drain_url",
)  # fmt: skip

#: Databases by the scheme of their URL, and the scheme that frameworks expect.
DATABASES = {"mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres",
             "postgresql": "postgres"}  # fmt: skip


def services_by_label(services: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """VCAP_SERVICES: the bound services, grouped by what they are."""
    found: dict[str, list[dict[str, Any]]] = {}
    for service in services:
        label = str(service.get("label") or "user-provided")
        told = {key: value for key, value in service.items() if key in SERVICE_KEYS}
        found.setdefault(label, []).append(told)
    return found


def database_url(services: Mapping[str, list[dict[str, Any]]]) -> str:
    """The URL of the first bound database, or nothing."""
    for group in services.values():
        for service in group:
            credentials = service.get("credentials")
            if not isinstance(credentials, dict):
                continue
            uri = credentials.get("uri") or credentials.get("url")
            if not isinstance(uri, str):
                continue
            try:
                parts = urlsplit(uri)
            except ValueError:
                continue
            if parts.scheme in DATABASES:
                return urlunsplit(parts._replace(scheme=DATABASES[parts.scheme]))
    return ""


def compact(value: object) -> str:
    """*value* as JSON on one line."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
