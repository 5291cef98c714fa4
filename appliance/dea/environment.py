"""The environment of an instance. Pure; it is handed over as it is, no shell ever reads it.

Sources: reference of the 2012 DEA (``VCAP_*``, ``VMC_*``) and Cloud Foundry's own
documentation of environment variables (``CF_INSTANCE_*`` and the rest).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from appliance.dea.bindings import told_of_services
from appliance.dea.instance import MIB, Instance
from appliance.dea.messages import Start
from appliance.kernel.vcap import compact, database_url, services_by_label


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
        "MEMORY_LIMIT": f"{memory_for_main(order)}m",
        "VCAP_APPLICATION": compact(application(instance)),
        **told_of_services(order, home),
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


def memory_for_main(order: Start) -> int:
    """MB that the main program is told of: what its sidecars leave."""
    return order.limits.mem - sum(one.memory or 0 for one in order.sidecars)


def memory_for_one_process(order: Start) -> int:
    """Bytes that one process may map: above the quota, so that the watchdog sees it passed.

    Otherwise a program would fail in ways of its own, and its user would never read that
    it was out of memory. Node and Java also reserve more than they use, and the stack of every
    thread counts, used or not.
    """
    quota = order.limits.mem * MIB
    return max(4 * quota, quota + 1024 * MIB)
