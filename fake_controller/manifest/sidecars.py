"""The sidecars of a manifest. Pure."""

from __future__ import annotations

from typing import Any

from fake_controller.manifest.payload import SidecarManifest
from fake_controller.manifest.sizes import SizeError, size_in_mb

MOST = 2**31 - 1  # MB


def check_sidecars(app: dict[str, Any], errors: list[str]) -> tuple[SidecarManifest, ...]:
    """The sidecars of *app*."""
    if "sidecars" not in app:
        return ()
    listed = app["sidecars"]
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        errors.append("Sidecars must be an array of sidecar configurations")
        return ()
    return tuple(_check(one, errors) for one in listed)


def _check(given: dict[Any, Any], errors: list[str]) -> SidecarManifest:
    own: list[str] = []
    name, command = given.get("name"), given.get("command")
    for label, value in (("Name", name), ("Command", command)):
        if value is None or value == "":
            own.append(f"{label} can't be blank")
        elif not isinstance(value, str):
            own.append(f"{label} must be a string")
    types = given.get("process_types")
    if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
        own.append("Process types must be an array")
        types = []
    elif not types:
        own.append("Process types must have at least 1 process_type")
    memory = _memory(given.get("memory"), own)
    errors += [f'Sidecar "{name}": {e}' if name else f"Sidecar {e.lower()}" for e in own]
    return SidecarManifest(
        name=str(name),
        command=str(command),
        process_types=tuple(dict.fromkeys(types)),
        memory_in_mb=memory,
    )


def _memory(given: object, errors: list[str]) -> int | None:
    if given is None or given == "":
        return None
    try:
        memory = size_in_mb(given)
    except SizeError as error:
        errors.append(f"Memory {error}")
        return None
    if not 0 < memory <= MOST:
        errors.append(f"Memory must be greater than 0MB and at most {MOST}MB")
    return memory
