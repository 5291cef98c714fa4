"""Whether a manifest can be what it says: every error of every app, in Cloud Controller's words.

Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fake_controller.errors import CloudErrors, feature_disabled, unprocessable
from fake_controller.features import OF_APPS
from fake_controller.labelling import annotation_faults, label_faults
from fake_controller.manifest.payload import AppManifest, ServiceManifest
from fake_controller.manifest.processes import check_processes
from fake_controller.manifest.routes import check_routes
from fake_controller.manifest.sidecars import check_sidecars

MOST_TEXT = 4096  # characters of a buildpack or stack
MOST_NAME = 255
AUTODETECT = (None, "default", "null")
Errors = list[str]


def validated(applications: Sequence[Any]) -> list[AppManifest]:
    """The apps of a manifest.

    Raises:
      CloudErrors: all that is wrong with any of them.
    """
    apps, errors = [], []
    for index, raw in enumerate(applications):
        app, own = check_app(raw)
        name = raw.get("name") if isinstance(raw, dict) else None
        whose = f"'{name}'" if name else f"at index {index}"
        errors += [unprocessable(f"For application {whose}: {error}") for error in own]
        apps.append(app)
    names = [app.name for app in apps]
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    errors += [
        unprocessable(f"For application '{name}': Name may only be used once in a manifest")
        for name in twice
    ]
    if errors:
        raise CloudErrors(errors)
    return apps


def check_app(raw: Any) -> tuple[AppManifest, Errors]:
    """One app, and what is wrong with it; when something is, the app is of no use."""
    if not isinstance(raw, dict):
        return AppManifest(name=""), ["Must be an object of keys and values"]
    # Cloud Controller knows each key in both spellings: disk-quota and disk_quota.
    app = underscored(raw)
    errors: Errors = []
    _check_name(app, errors)
    processes = check_processes(app, errors)
    sidecars = check_sidecars(app, errors)
    _check_lifecycle(app, errors)
    buildpacks = _buildpacks(app, errors)
    stack = _stack(app, errors)
    labels, annotations = _metadata(app, errors)
    services = _services(app, errors)
    environment = _environment(app, errors)
    routes = check_routes(app, errors)
    features = _features(app, errors)
    checked = AppManifest(
        name=str(app.get("name")),
        buildpacks=buildpacks,
        stack=stack,
        environment=environment,
        labels=labels,
        annotations=annotations,
        features=features,
        processes=processes,
        sidecars=sidecars,
        routes=routes,
        no_route=app.get("no_route") is True,
        random_route=app.get("random_route") is True,
        default_route=app.get("default_route") is True,
        services=services,
        submitted=raw,
    )
    return checked, errors


def underscored(raw: dict[Any, Any]) -> dict[str, Any]:
    """*raw* with underscores in its keys; processes, too, since they have the same keys."""
    return {str(key).replace("-", "_"): value for key, value in raw.items()}


def _check_name(app: dict[str, Any], errors: Errors) -> None:
    name = app.get("name")
    if name is None or (isinstance(name, str) and not name.strip()):
        errors.append("Name must not be empty")
    if not isinstance(name, str):
        errors.append("Name must be a string")
    elif len(name) > MOST_NAME:
        errors.append(f"Name is too long (maximum is {MOST_NAME} characters)")


def _check_lifecycle(app: dict[str, Any], errors: Errors) -> None:
    """Only buildpacks make droplets here; the others are refused before anything is made."""
    lifecycle = app.get("lifecycle")
    if "docker" in app or lifecycle == "docker":
        errors.append(str(feature_disabled("diego_docker")))
        if "buildpack" in app or "buildpacks" in app:
            errors.append("Cannot specify both buildpack(s) and docker keys")
    elif lifecycle == "cnb":
        errors.append(str(feature_disabled("diego_cnb")))
    elif lifecycle not in (None, "buildpack"):
        errors.append("Lifecycle type is not included in the list: buildpack, docker, cnb")


def _buildpacks(app: dict[str, Any], errors: Errors) -> tuple[str, ...] | None:
    if "buildpack" in app and "buildpacks" in app:
        errors.append("Buildpack and Buildpacks fields cannot be used together.")
        return None
    if "buildpack" in app:
        buildpack = app["buildpack"]
        if buildpack in AUTODETECT:
            return ()
        if not isinstance(buildpack, str):
            errors.append("Buildpack must be a string")
        elif not 0 < len(buildpack) <= MOST_TEXT:
            errors.append(f"Buildpack must be between 1 and {MOST_TEXT} characters")
        return (str(buildpack),)
    if "buildpacks" not in app:
        return None
    buildpacks = app["buildpacks"]
    if buildpacks in AUTODETECT:
        return ()
    if not isinstance(buildpacks, list):
        errors.append("Buildpacks must be an array")
        return None
    if not all(isinstance(one, str) for one in buildpacks):
        errors.append("Buildpacks can only contain strings")
    elif not all(one.strip() and len(one) <= MOST_TEXT for one in buildpacks):
        errors.append(f"Buildpacks entries must be between 1 and {MOST_TEXT} characters")
    elif buildpacks in (["default"], ["null"]):
        return ()
    return tuple(str(one) for one in buildpacks)


def _stack(app: dict[str, Any], errors: Errors) -> str | None:
    stack = app.get("stack")
    if stack is None:
        return None
    if not isinstance(stack, str):
        errors.append("Stack must be a string")
    elif not 0 < len(stack) <= MOST_TEXT:
        errors.append(f"Stack must be between 1 and {MOST_TEXT} characters")
    return str(stack)


def _metadata(
    app: dict[str, Any], errors: Errors
) -> tuple[dict[str, str | None], dict[str, str | None]]:
    if "metadata" not in app:
        return {}, {}
    metadata = app["metadata"]
    if not isinstance(metadata, dict):
        errors.append("Metadata must be an object")
        return {}, {}
    if unexpected := [str(key) for key in metadata if key not in ("labels", "annotations")]:
        named = " ".join(f"'{key}'" for key in unexpected)
        errors.append(f"Metadata has unexpected field(s): {named}")
    found = []
    for name in ("labels", "annotations"):
        given = metadata.get(name) or {}
        if not isinstance(given, dict):
            errors.append(f"Metadata '{name}' is not an object")
            given = {}
        found.append({str(k): None if v is None else text(v) for k, v in given.items()})
    labels, annotations = found
    errors += label_faults(labels) + annotation_faults(annotations)
    return labels, annotations


def _environment(app: dict[str, Any], errors: Errors) -> dict[str, str]:
    if "env" not in app:
        return {}
    given = app["env"]
    if not isinstance(given, dict):
        errors.append("Env must be an object of keys and values")
        return {}
    for key in given:
        if not isinstance(key, str):
            errors.append("Env key must be a string")
        elif not key:
            errors.append("Env key must be a minimum length of 1")
        elif key.upper().startswith("VCAP_"):
            errors.append("Env cannot start with VCAP_")
        elif key.upper().startswith("VMC"):
            errors.append("Env cannot start with VMC_")
        elif key.upper() == "PORT":
            errors.append("Env cannot set PORT")
    return {str(key): text(value) for key, value in given.items()}


def text(value: Any) -> str:
    """A value as an environment holds it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _features(app: dict[str, Any], errors: Errors) -> dict[str, bool]:
    if "features" not in app:
        return {}
    given = app["features"]
    if (
        not isinstance(given, dict)
        or not given
        or not all(name in OF_APPS and isinstance(on, bool) for name, on in given.items())
    ):
        errors.append(
            "Features must be a map of valid feature names to booleans "
            "(true = enabled, false = disabled)"
        )
        return {}
    return given


def _services(app: dict[str, Any], errors: Errors) -> tuple[ServiceManifest, ...]:
    if "services" not in app:
        return ()
    given = app["services"]
    if not isinstance(given, list) or not all(_is_service(one) for one in given):
        errors.append("Services must be a list of service instances")
        return ()
    return tuple(
        ServiceManifest(name=one) if isinstance(one, str) else ServiceManifest(**one)
        for one in given
    )


def _is_service(one: Any) -> bool:
    if isinstance(one, str):
        return True
    return (
        isinstance(one, dict)
        and {"name"} <= one.keys() <= {"name", "parameters", "binding_name"}
        and isinstance(one["name"], str)
        and isinstance(one.get("parameters", {}), dict)
        and isinstance(one.get("binding_name", ""), str)
    )
