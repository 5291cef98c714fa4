"""The environment of an instance. Pure; it is handed over as it is, no shell ever reads it.

Sources: reference of the 2012 DEA (``VCAP_*``, ``VMC_*``) and Cloud Foundry's own
documentation of environment variables (``CF_INSTANCE_*`` and the rest).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from appliance.dea.instance import MIB, Instance
from appliance.dea.messages import Start

#: What an app is told of a bound service; the rest of the message is the DEA's business.
SERVICE_KEYS = (
    "name", "label", "plan", "tags", "plan_option", "credentials", "binding_guid",
    "binding_name", "instance_guid", "instance_name", "volume_mounts", "syslog_drain_url",
)  # fmt: skip

#: Databases by the scheme of their URL, and the scheme that frameworks expect.
DATABASES = {"mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres",
             "postgresql": "postgres"}  # fmt: skip


def environment(instance: Instance, home: str) -> dict[str, str]:
    """Everything that *instance* is told; what the user set comes last and wins.

    *home* is where the program finds the instance's folder: ``/home/vcap`` in a sandbox.
    """
    order = instance.order
    services = services_by_label(order.services)
    host, listens = instance.listens
    port = "" if listens is None else str(listens)
    outside = "" if instance.port is None else str(instance.port)
    env = {
        "HOME": f"{home}/app",
        "USER": "vcap",
        "LANG": "C.UTF-8",
        "TMPDIR": f"{home}/tmp",
        "DEPS_DIR": f"{home}/deps",
        "MEMORY_LIMIT": f"{order.limits.mem}m",
        "VCAP_APPLICATION": compact(application(instance)),
        "VCAP_SERVICES": compact(services),
        "VCAP_APP_HOST": host,
        "VCAP_APP_PORT": port,
        "CF_INSTANCE_GUID": instance.id,
        "CF_INSTANCE_INDEX": str(order.index),
        "CF_INSTANCE_IP": instance.host,
        "CF_INSTANCE_INTERNAL_IP": instance.host,
        "CF_INSTANCE_PORT": outside,
        "CF_INSTANCE_ADDR": f"{instance.host}:{outside}" if outside else "",
        "CF_INSTANCE_PORTS": compact(
            [{"external": instance.port, "internal": listens}] if port else []
        ),
        "INSTANCE_GUID": instance.id,
        "INSTANCE_INDEX": str(order.index),
    }
    if port:
        env["PORT"] = port
    if url := database_url(services):
        env["DATABASE_URL"] = url
    if order.runtime_info is not None:
        env |= legacy(instance)
        env |= assignments(order.runtime_info.get("environment") or ())
    return possible(env | assignments(order.env))


def application(instance: Instance) -> dict[str, Any]:
    """VCAP_APPLICATION: what this DEA knows, with what the controller sent on top."""
    order, (host, port) = instance.order, instance.listens
    started = datetime.fromtimestamp(instance.since, UTC).strftime("%Y-%m-%d %H:%M:%S +0000")
    return {
        "instance_id": instance.id,
        "instance_index": order.index,
        "name": order.name,
        "uris": list(instance.uris),
        "users": order.users,
        "version": order.version,
        "start": started,
        "started_at": started,
        "started_at_timestamp": int(instance.since),
        "state_timestamp": int(instance.since),
        "runtime": order.runtime or (order.runtime_info or {}).get("name"),
        "host": host,
        "port": port,
        "limits": {
            "fds": order.limits.fds,
            "mem": order.limits.mem * MIB,
            "disk": order.limits.disk * MIB,
        },
        **(order.vcap_application or {}),
    }


def services_by_label(services: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """VCAP_SERVICES: the bound services, grouped by what they are."""
    found: dict[str, list[dict[str, Any]]] = {}
    for service in services:
        label = str(service.get("label") or "user-provided")
        told = {key: service[key] for key in SERVICE_KEYS if key in service}
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


def legacy(instance: Instance) -> dict[str, str]:
    """The names of 2011, which only orders of that generation (with runtime_info) get."""
    order, (host, listens) = instance.order, instance.listens
    port = "" if listens is None else str(listens)
    return {
        "VMC_SERVICES": compact([_legacy_service(service) for service in order.services]),
        "VMC_APP_INSTANCE": compact(application(instance)),
        "VMC_APP_NAME": order.name,
        "VMC_APP_ID": instance.id,
        "VMC_APP_VERSION": order.version,
        "VMC_APP_HOST": host,
        "VMC_APP_PORT": port,
        "VMC_WARNING_WARNING": "All VMC_* environment variables are deprecated,"
        " please use VCAP_* versions.",
        "VCAP_DEBUG_IP": "",
        "VCAP_DEBUG_PORT": "",
        "VCAP_CONSOLE_IP": "",
        "VCAP_CONSOLE_PORT": "",
    }


def _legacy_service(service: Mapping[str, Any]) -> dict[str, Any]:
    same = {key: service.get(key) for key in ("name", "type", "vendor", "version")}
    return {**same, "tier": service.get("plan"), "options": service.get("credentials")}


def assignments(given: Mapping[str, object] | Iterable[str]) -> dict[str, str]:
    """``NAME=value`` texts, or a mapping, as a dictionary; texts without "=" say nothing."""
    if isinstance(given, Mapping):
        return {str(name): str(value) for name, value in given.items()}
    pairs = (text.partition("=") for text in given)
    return {name: value for name, equals, value in pairs if equals}


def possible(env: Mapping[str, str]) -> dict[str, str]:
    """*env* without what no process can have.

    A NUL would end a value early, or even begin another option on a sandbox's command line.
    """
    return {
        name: value
        for name, value in env.items()
        if name and "=" not in name and "\0" not in name and "\0" not in value
    }


def compact(value: object) -> str:
    """*value* as JSON on one line."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def memory_for_one_process(order: Start) -> int:
    """Bytes that one process may map: above the quota, so that the watchdog sees it passed.

    Otherwise a program would fail in ways of its own, and its user would never read that
    it was out of memory. Node and Java also reserve more than they use, and the stack of every
    thread counts, used or not.
    """
    quota = order.limits.mem * MIB
    return max(4 * quota, quota + 1024 * MIB)
