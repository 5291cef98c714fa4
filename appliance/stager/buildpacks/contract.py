"""What classic buildpacks tell their platform in YAML: release, launch.yml, config.yml. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from appliance.stager.errors import BuildFailed, ReleaseFailed
from appliance.stager.plugins.plugin import Process

LONGEST = 64 * 1024  # characters; the real ones have a few hundred, and YAML is slow to read


def parse_release(text: str, name: str) -> list[Process]:
    """The ``default_process_types`` that ``bin/release`` prints.

    Raises:
      ReleaseFailed: it is no YAML, or process types are no map of commands; *name* is the
        buildpack's, for the sentence.
    """
    try:
        release = _mapping(text, f"The output of bin/release of the buildpack {name}")
        types = _inner(release, "default_process_types", f"the release of the buildpack {name}")
        return [
            Process(type=_text(key, "process type"), command=_text(value, f"command of {key}"))
            for key, value in types.items()
            if value is not None
        ]
    except ValueError as error:
        raise ReleaseFailed(f"{error}.") from None


def parse_launch(text: str, name: str) -> list[Process]:
    """The processes of a ``launch.yml``, which a buildpack writes to its folder below deps.

    Raises:
      BuildFailed: it is no YAML, or not of that shape; *name* is what the sentence calls it.
    """
    try:
        listed = _mapping(text, name).get("processes") or []
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise ValueError(f"processes in {name} is no list of mappings")
        return [_process(entry, name) for entry in listed]
    except ValueError as error:
        raise BuildFailed(f"{error}.") from None


def parse_config(text: str) -> tuple[str | None, str | None]:
    """Name and version from a ``config.yml``; what cannot be read says nothing."""
    try:
        config = _mapping(text, "config.yml")
    except ValueError:
        return None, None
    name, version = config.get("name"), config.get("version")
    return (
        str(name) if name is not None else None,
        str(version) if version is not None else None,
    )


def merged(lists: Iterable[Iterable[Process]]) -> list[Process]:
    """All processes of *lists*; of two with one type the later one counts, in the first's place."""
    by_type: dict[str, Process] = {}
    for processes in lists:
        for process in processes:
            by_type[process.type] = process
    return list(by_type.values())


def _process(entry: dict[Any, Any], name: str) -> Process:
    kind = _text(entry.get("type"), f"type of a process in {name}")
    platform = _inner(_inner(entry, "platforms", name), "cloudfoundry", name)
    beside = platform.get("sidecar_for") or []
    memory = _inner(entry, "limits", name).get("memory") or None
    if not isinstance(beside, list) or not isinstance(memory, int | None):
        raise ValueError(f"sidecar_for or limits.memory of {kind} in {name} is no list or number")
    return Process(
        type=kind,
        command=_text(entry.get("command"), f"command of {kind} in {name}"),
        sidecar_for=tuple(_text(other, f"sidecar_for of {kind} in {name}") for other in beside),
        memory=memory,
    )


def _inner(outer: dict[Any, Any], key: str, where: str) -> dict[Any, Any]:
    inner = outer.get(key) or {}
    if not isinstance(inner, dict):
        raise ValueError(f"{key} in {where} is no mapping")
    return inner


def _text(value: object, what: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise ValueError(f"The {what} is missing or no text")
    return str(value)


def _mapping(text: str, what: str) -> dict[Any, Any]:
    """*text* as YAML. Raises ValueError with a sentence that lacks its full stop."""
    import yaml

    if len(text) > LONGEST:
        raise ValueError(f"{what} has more than {LONGEST:,} characters")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ValueError(f"{what} is no YAML") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no mapping")
    return value
