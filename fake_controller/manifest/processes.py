"""The process types of a manifest: sizes, instances, commands and health checks. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fake_controller.manifest.payload import ProcessManifest
from fake_controller.manifest.sizes import SizeError, log_rate, size_in_mb
from fake_controller.model.apps import MOST_INSTANCES

WEB = "web"
MOST = 2**31 - 1  # MB or seconds: what the platform stores
MOST_RATE = 2**63 - 1
MOST_COMMAND = 4096  # characters
NO_COMMAND = (None, "null", "default")  # the droplet's own
CHECKS = ("port", "process", "http")
USER = "vcap"  # the one that every app runs as
_PATH = re.compile(r"/[^\s]*")
_WHOLE = re.compile(r"[+-]?\d{1,30}")

#: Sizes: key, the record's field, what it is called, how it is read, and its bounds.
_SIZES: tuple[tuple[str, str, str, Callable[[object], int]], ...] = (
    ("memory", "memory_in_mb", "Memory", size_in_mb),
    ("disk_quota", "disk_in_mb", "Disk quota", size_in_mb),
    ("log_rate_limit_per_second", "log_rate", "Log rate limit per second", log_rate),
)
#: Whole seconds: key, and the record's field.
_SECONDS = (
    ("timeout", "health_check_timeout"),
    ("health_check_invocation_timeout", "health_check_invocation_timeout"),
    ("health_check_interval", "health_check_interval"),
    ("readiness_health_check_invocation_timeout", "readiness_invocation_timeout"),
    ("readiness_health_check_interval", "readiness_interval"),
)
_CHECKS = (
    ("health_check_type", "health_check_type", "health_check_endpoint"),
    ("readiness_health_check_type", "readiness_type", "readiness_endpoint"),
)
_ENDPOINTS = (
    ("health_check_http_endpoint", "health_check_endpoint"),
    ("readiness_health_check_http_endpoint", "readiness_endpoint"),
)


def check_processes(app: dict[str, Any], errors: list[str]) -> tuple[ProcessManifest, ...]:
    """The processes of *app*: what stands at its top level is the web process's.

    A web process that is listed by itself wins over the top level, which is checked all the
    same.
    """
    top = check_process(WEB, app, errors)
    found = [top] if top.changes or top.scale else []
    if "processes" not in app:
        return tuple(found)
    listed = app["processes"]
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        errors.append("Processes must be an array of process configurations")
        return ()
    processes = [
        {str(key).replace("-", "_"): value for key, value in one.items()} for one in listed
    ]
    types = [one.get("type") for one in processes]
    if not all(isinstance(type_, str) and type_.strip() for type_ in types):
        errors.append("All Processes must specify a type")
        return ()
    errors += [
        f'Process "{type_}" may only be present once'
        for type_ in dict.fromkeys(types)
        if types.count(type_) > 1
    ]
    if WEB in types:
        found = []
    return (*found, *(check_process(str(one["type"]), one, errors) for one in processes))


def check_process(type_: str, given: dict[str, Any], errors: list[str]) -> ProcessManifest:
    """One process; *given* has underscores in its keys."""
    own: list[str] = []
    scale = _scale(given, own)
    changes = _command(given, own) | _health(given, own)
    if "user" in given and given["user"] not in (None, USER):
        own.append(f"User must be '{USER}'")
    errors += [f'Process "{type_}": {error}' for error in own]
    return ProcessManifest(type=type_, changes=changes, scale=scale)


def _scale(given: dict[str, Any], errors: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, field, label, read in _SIZES:
        value = given.get(key)
        if value is None or value == "":
            continue
        try:
            found[field] = read(value)
        except SizeError as error:
            errors.append(f"{label} {error}")
            continue
        if field == "log_rate":
            if not -1 <= found[field] <= MOST_RATE:
                errors.append("Log rate limit must be an integer greater than or equal to -1")
        elif found[field] < 1:
            errors.append(f"{label} must be greater than 0MB")
        elif found[field] > MOST:
            errors.append(f"{label} must be less than or equal to {MOST}MB")
    if given.get("instances") is not None:
        found["instances"] = _whole("Instances", given["instances"], 0, MOST_INSTANCES, errors)
    return found


def _command(given: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    if "command" not in given:
        return {}
    command = given["command"]
    if command in NO_COMMAND:
        return {"command": None}
    if not isinstance(command, str):
        errors.append("Command must be a string")
    elif not 0 < len(command) <= MOST_COMMAND:
        errors.append(f"Command must be between 1 and {MOST_COMMAND} characters")
    return {"command": command}


def _health(given: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, field in _SECONDS:
        if key in given:
            value = given[key]
            found[field] = value
            if value is not None:
                found[field] = _whole(_label(key), value, 1, MOST, errors)
    for key, field in _ENDPOINTS:
        if key in given:
            found[field] = given[key]
            if given[key] is not None and not _is_path(given[key]):
                errors.append(f"{_label(key)} must be a valid URI path")
    for key, field, endpoint in _CHECKS:
        if key not in given:
            continue
        type_ = "process" if given[key] == "none" else given[key]  # its old name
        found[field] = type_
        if type_ not in CHECKS:
            errors.append(f'{_label(key)} must be "port", "process", or "http"')
        if type_ != "http":
            found[endpoint] = None  # some clients always send one
        elif found.get(endpoint) is None:
            found[endpoint] = "/"
    return found


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and _PATH.fullmatch(value) is not None


def _label(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _whole(label: str, value: Any, low: int, high: int, errors: list[str]) -> int:
    """A whole number, which clients may write as text."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        errors.append(f"{label} is not a number")
        return low
    if value != int(value):
        errors.append(f"{label} must be an integer")
    elif value < low:
        errors.append(f"{label} must be greater than or equal to {low}")
    elif value > high:
        errors.append(f"{label} must be less than or equal to {high}")
    return int(value)
