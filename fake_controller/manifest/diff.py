"""What applying a manifest would change, as operations on the manifest that was submitted.

Applying takes nothing away that the manifest leaves out, so only what it says is compared.
Paths count in what was submitted, since clients walk that and print it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fake_controller.manifest.processes import NO_COMMAND, WEB
from fake_controller.manifest.routes import parse_url
from fake_controller.manifest.sizes import SizeError, log_rate, log_rate_text, megabytes, size_in_mb
from fake_controller.manifest.validate import AUTODETECT, text

Plain = dict[str, Any]
Operation = dict[str, Any]

SIZES = ("memory", "disk_quota")
LOG_RATE = "log-rate-limit-per-second"
SCALE = (*SIZES, LOG_RATE, "instances")  # a null of these changes nothing
CHECKS = ("health-check-type", "readiness-health-check-type")
PROCESS_KEYS = (
    *SIZES, LOG_RATE, *CHECKS, "instances", "command", "timeout",
    "health-check-http-endpoint", "health-check-invocation-timeout", "health-check-interval",
    "readiness-health-check-http-endpoint", "readiness-health-check-invocation-timeout",
    "readiness-health-check-interval",
)  # fmt: skip
SIDECAR_KEYS = ("name", "command", "process_types", "memory")


def diff(applications: Sequence[Plain], existing: Mapping[str, Plain]) -> list[Operation]:
    """All operations; *existing* are the manifests of the apps that are there, by name."""
    return [
        operation
        for index, app in enumerate(applications)
        for operation in diff_app(f"/applications/{index}", app, existing.get(app["name"], {}))
    ]


def diff_app(path: str, wanted: Plain, have: Plain) -> Iterator[Operation]:
    """The operations on one app; *have* is its manifest, or empty when there is none."""
    processes = {one["type"]: one for one in have.get("processes", ())}
    listed = [one.get("type") for one in wanted.get("processes") or ()]
    without = _without_effect({_spelled(key): value for key, value in wanted.items()})
    for key, value in wanted.items():
        at, spelled = f"{path}/{_escaped(key)}", _spelled(key)
        if spelled in without:
            continue
        if spelled in PROCESS_KEYS:
            # At the top level they are the web process's, unless that is listed by itself.
            if WEB not in listed:
                yield from _value(at, spelled, value, processes.get(WEB, {}).get(spelled))
        elif spelled in _COMPARED:
            yield from _COMPARED[spelled](at, value, have)


def _without_effect(wanted: Plain) -> tuple[str, ...]:
    """The keys about routes that another one overrules."""
    if wanted.get("no-route"):
        return "routes", "random-route", "default-route"
    return ("random-route", "default-route") if "routes" in wanted else ()


def _value(at: str, key: str, wanted: Any, have: Any) -> Iterator[Operation]:
    """A single value, in its usual spelling."""
    value = _normal(key, wanted)
    if value is not None or key not in SCALE:
        yield from _one(at, value, have)


def _one(at: str, wanted: Any, have: Any) -> Iterator[Operation]:
    if wanted == have:
        return
    if have is None:
        yield {"op": "add", "path": at, "value": wanted}
    elif wanted is None:
        yield {"op": "remove", "path": at, "was": have}
    else:
        yield {"op": "replace", "path": at, "was": have, "value": wanted}


def _map(at: str, wanted: Mapping[Any, Any], have: Mapping[str, Any]) -> Iterator[Operation]:
    for key, value in wanted.items():
        yield from _one(f"{at}/{_escaped(key)}", value, have.get(str(key)))


def _list(at: str, wanted: Sequence[Any], have: Sequence[Any]) -> Iterator[Operation]:
    """A list that is replaced as a whole."""
    for index in range(max(len(wanted), len(have))):
        value = wanted[index] if index < len(wanted) else None
        was = have[index] if index < len(have) else None
        yield from _one(f"{at}/{index}", value, was)


def _name(at: str, wanted: Any, have: Plain) -> Iterator[Operation]:
    yield from _one(at, wanted, have.get("name"))


def _stack(at: str, wanted: Any, have: Plain) -> Iterator[Operation]:
    if wanted is not None:
        yield from _one(at, wanted, have.get("stack"))


def _lifecycle(at: str, wanted: Any, have: Plain) -> Iterator[Operation]:
    if wanted is not None:
        yield from _one(at, wanted, have.get("lifecycle"))


def _buildpack(at: str, wanted: Any, have: Plain) -> Iterator[Operation]:
    value = None if wanted in AUTODETECT else wanted
    was = have.get("buildpacks", [])
    if [value] != was:
        yield from _one(at, value, ", ".join(was) or None)


def _buildpacks(at: str, wanted: Any, have: Plain) -> Iterator[Operation]:
    found = [] if wanted in (*AUTODETECT, ["default"], ["null"]) else wanted
    yield from _list(at, found, have.get("buildpacks", []))


def _env(at: str, wanted: Plain, have: Plain) -> Iterator[Operation]:
    yield from _map(at, {key: text(value) for key, value in wanted.items()}, have.get("env", {}))


def _features(at: str, wanted: Plain, have: Plain) -> Iterator[Operation]:
    yield from _map(at, wanted, have.get("features", {}))


def _metadata(at: str, wanted: Plain, have: Plain) -> Iterator[Operation]:
    for kind, values in wanted.items():
        given = {key: None if one is None else text(one) for key, one in (values or {}).items()}
        yield from _map(f"{at}/{kind}", given, have.get("metadata", {}).get(kind, {}))


def _processes(at: str, wanted: Sequence[Plain], have: Plain) -> Iterator[Operation]:
    there = {one["type"]: one for one in have.get("processes", ())}
    for index, process in enumerate(wanted):
        spelled = {_spelled(key): (key, value) for key, value in process.items()}
        was = there.get(process["type"])
        if was is None:
            known = {k: _normal(k, v) for k, (_, v) in spelled.items() if k in PROCESS_KEYS}
            value = {"type": process["type"]} | {k: v for k, v in known.items() if v is not None}
            yield {"op": "add", "path": f"{at}/{index}", "value": value}
            continue
        for key, (written, value) in spelled.items():
            if key in PROCESS_KEYS:
                here = f"{at}/{index}/{_escaped(written)}"
                yield from _value(here, key, value, was.get(key))


def _sidecars(at: str, wanted: Sequence[Plain], have: Plain) -> Iterator[Operation]:
    there = {one["name"]: one for one in have.get("sidecars", ())}
    for index, sidecar in enumerate(wanted):
        was = there.get(sidecar["name"])
        known = {k: _normal(k, v) for k, v in sidecar.items() if k in SIDECAR_KEYS}
        if was is None:
            yield {"op": "add", "path": f"{at}/{index}", "value": known}
            continue
        for key, value in known.items():
            here = f"{at}/{index}/{key}"
            if key == "process_types":
                yield from _list(here, value, was["process_types"])
            elif value is not None:
                yield from _one(here, value, was.get(key))


def _routes(at: str, wanted: Sequence[Plain], have: Plain) -> Iterator[Operation]:
    there = {one["route"]: one for one in have.get("routes", ())}
    for index, route in enumerate(wanted):
        host, _, path = parse_url(str(route["route"])) or (str(route["route"]), None, "")
        was = there.get(f"{host}{path}")
        if was is None:
            known = {k: route[k] for k in ("route", "protocol", "options") if route.get(k)}
            yield {"op": "add", "path": f"{at}/{index}", "value": known}
            continue
        if route.get("protocol") is not None:
            yield from _one(f"{at}/{index}/protocol", route["protocol"], was["protocol"])
        options = {
            k: None if v is None else str(v) for k, v in (route.get("options") or {}).items()
        }
        yield from _map(f"{at}/{index}/options", options, was.get("options", {}))


def _services(at: str, wanted: Sequence[Any], have: Plain) -> Iterator[Operation]:
    bound = have.get("services", ())
    for index, service in enumerate(wanted):
        if (service if isinstance(service, str) else service["name"]) not in bound:
            yield {"op": "add", "path": f"{at}/{index}", "value": service}


def _some_route(at: str, wanted: Any, have: Plain) -> Iterator[Operation]:
    """``random-route`` and ``default-route`` do something only for an app without routes."""
    if wanted and not have.get("routes"):
        yield {"op": "add", "path": at, "value": wanted}


def _no_route(at: str, wanted: Any, have: Plain) -> Iterator[Operation]:
    if wanted and have.get("routes"):
        yield {"op": "add", "path": at, "value": wanted}


_COMPARED: Mapping[str, Callable[[str, Any, Plain], Iterator[Operation]]] = {
    "name": _name,
    "lifecycle": _lifecycle,
    "stack": _stack,
    "buildpack": _buildpack,
    "buildpacks": _buildpacks,
    "env": _env,
    "features": _features,
    "metadata": _metadata,
    "processes": _processes,
    "sidecars": _sidecars,
    "routes": _routes,
    "services": _services,
    "no-route": _no_route,
    "random-route": _some_route,
    "default-route": _some_route,
}


def _spelled(key: Any) -> str:
    """*key* as manifests are generated: with dashes, but for two."""
    dashed = str(key).replace("_", "-")
    return {"disk-quota": "disk_quota", "process-types": "process_types"}.get(dashed, dashed)


def _normal(key: str, value: Any) -> Any:
    """*value* of *key* as manifests are generated."""
    if value is None:
        return None
    if key in SIZES or key == LOG_RATE:
        try:
            return (
                log_rate_text(log_rate(value)) if key == LOG_RATE else megabytes(size_in_mb(value))
            )
        except SizeError:
            return None  # an empty text, which stands for nothing
    if key in CHECKS:
        return "process" if value == "none" else value
    if key == "command":
        return None if value in NO_COMMAND else value
    if key == "instances" or key.endswith(("timeout", "interval")):
        return int(value)
    return value


def _escaped(key: Any) -> str:
    """*key* as a step of a JSON pointer."""
    return str(key).replace("~", "~0").replace("/", "~1")
