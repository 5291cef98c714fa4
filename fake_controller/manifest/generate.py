"""The manifest that would make an app what it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fake_controller.features import OF_APPS, enabled
from fake_controller.manifest.sizes import log_rate_text, megabytes
from fake_controller.model import App, Process, Sidecar

Plain = dict[str, Any]
_FAST: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteOfApp:
    """A route that leads to the app."""

    url: str
    protocol: str
    options: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeApp:
    """An app, and all that a manifest can say of it."""

    app: App
    processes: Sequence[Process] = ()
    routes: Sequence[RouteOfApp] = ()
    sidecars: Sequence[Sidecar] = ()
    services: Sequence[str] = ()  # names of instances that it is bound to


def generate(whole: WholeApp) -> Plain:
    """The entry of ``applications``; keys that have nothing to say are left out."""
    app = whole.app
    named = (("labels", app.labels), ("annotations", app.annotations))
    shown = {
        "name": app.name,
        "lifecycle": app.lifecycle,
        "buildpacks": list(app.buildpacks),
        "stack": app.stack,
        "env": dict(app.environment),
        "features": {name: enabled(OF_APPS, app.features, name) for name in OF_APPS},
        "services": sorted(whole.services, key=str.lower),
        "routes": [_route(route) for route in sorted(whole.routes, key=lambda r: r.url)],
        "metadata": {name: dict(values) for name, values in named if values},
        "processes": [_process(one) for one in sorted(whole.processes, key=lambda p: p.type)],
        "sidecars": [_sidecar(one) for one in sorted(whole.sidecars, key=lambda s: s.name)],
    }
    return {key: value for key, value in shown.items() if value}


def written(applications: Sequence[Plain]) -> str:
    """*applications* as the text of a manifest."""
    text: str = yaml.dump(
        {"applications": list(applications)},
        Dumper=_FAST,
        sort_keys=False,
        allow_unicode=True,
        explicit_start=True,
    )
    return text


def _route(route: RouteOfApp) -> Plain:
    shown: Plain = {"route": route.url, "protocol": route.protocol}
    return shown | ({"options": dict(route.options)} if route.options else {})


def _process(process: Process) -> Plain:
    shown = {
        "type": process.type,
        "instances": process.instances,
        "memory": megabytes(process.memory_in_mb),
        "disk_quota": megabytes(process.disk_in_mb),
        "log-rate-limit-per-second": log_rate_text(process.log_rate),
        "command": process.command,
        "health-check-type": process.health_check_type,
        "health-check-http-endpoint": process.health_check_endpoint,
        "health-check-invocation-timeout": process.health_check_invocation_timeout,
        "health-check-interval": process.health_check_interval,
        "readiness-health-check-type": process.readiness_type,
        "readiness-health-check-http-endpoint": process.readiness_endpoint,
        "readiness-health-check-invocation-timeout": process.readiness_invocation_timeout,
        "readiness-health-check-interval": process.readiness_interval,
        "timeout": process.health_check_timeout,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _sidecar(sidecar: Sidecar) -> Plain:
    shown: Plain = {
        "name": sidecar.name,
        "process_types": list(sidecar.process_types),
        "command": sidecar.command,
    }
    if sidecar.memory_in_mb is not None:
        shown["memory"] = megabytes(sidecar.memory_in_mb)
    return shown
