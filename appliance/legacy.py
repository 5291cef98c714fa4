"""The YAML configuration of a stager or a DEA of 2012, as settings of ours. Pure.

What it says of things that are different here is accepted and told, never an error: the files
of back then are to be used as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from appliance.kernel.errors import ConfigError

NATS = "nats://127.0.0.1:4222"  # where the originals look when nothing else is said
#: Below ``dirs.tmp``, which the original empties and which may be /tmp itself.
WORKSPACES = "appliance-stager"


@dataclass(kw_only=True)
class Legacy:
    """What a file says: settings by their keys here, and what has no effect."""

    room: str  # whose configuration it is
    settings: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Key(NamedTuple):
    """One key of back then: its type, and what it is here; *without* says why it is nothing."""

    kind: type | tuple[type, ...]
    becomes: Callable[[Any], dict[str, object]] | None = None
    without: str = ""


def _secure(value: bool) -> dict[str, object]:
    # Users of its own for every task were what kept them apart; here the sandbox does.
    return {"sandbox": "require"} if value else {}


def _setting(key: str) -> Callable[[Any], dict[str, object]]:
    return lambda value: {key: value}


def _seconds(key: str) -> Callable[[Any], dict[str, object]]:
    return lambda value: {key: float(value)}


_NUMBER = (int, float)
_SHARED: dict[str, _Key] = {
    "secure": _Key(bool, _secure),
    "logging.level": _Key(str, lambda value: {"verbose": str(value).startswith("debug")}),
    "logging.file": _Key(str, without="events go to stderr"),
    "logging.syslog": _Key(str, without="events go to stderr"),
    "index": _Key(int, without="components are told apart by their uuid"),
    "local_route": _Key(str, without="dea.host and listen say which address is announced"),
}
_STAGER: dict[str, _Key] = _SHARED | {
    "nats_uri": _Key(str, _setting("bus")),
    "max_staging_duration": _Key(_NUMBER, _seconds("stager.max_staging_duration")),
    "max_active_tasks": _Key(int, _setting("stager.max_active_tasks")),
    "queues": _Key(list, _setting("stager.queues")),
    "pid_filename": _Key(str, _setting("pid_file")),
    "dirs.tmp": _Key(str, lambda value: {"stager.root": Path(value) / WORKSPACES}),
    "ruby_path": _Key(str, without="plugins are part of the stager"),
    "run_plugin_path": _Key(str, without="plugins are part of the stager"),
}
_DEA: dict[str, _Key] = _SHARED | {
    "base_dir": _Key(str, _setting("dea.root")),
    "filer_port": _Key(int, lambda value: {"dea.bind": f"127.0.0.1:{value}"}),
    "mbus": _Key(str, _setting("bus")),
    "intervals.heartbeat": _Key(_NUMBER, _seconds("dea.heartbeat")),
    "intervals.advertise": _Key(_NUMBER, _seconds("dea.advertise")),
    "max_memory": _Key(int, _setting("dea.max_memory")),
    "multi_tenant": _Key(bool, lambda value: {} if value else {"dea.max_instances": 1}),
    "runtimes": _Key(list, _setting("dea.runtimes")),
    "force_http_sharing": _Key(bool, _setting("dea.force_http_sharing")),
    "pid": _Key(str, _setting("pid_file")),
    "status.user": _Key(str, _setting("status_user")),
    "status.password": _Key(str, _setting("status_password")),
    "status.port": _Key(int, without="/varz and /healthz are served beside the files"),
    "enforce_ulimit": _Key(bool, without="limits are always enforced"),
    "prod": _Key(bool, without="all apps are taken alike"),
    "dea_ruby": _Key(str, without="no Ruby is needed"),
    "droplet_fs_percent_used_threshold": _Key(_NUMBER, without="apps have disk limits"),
    "disable_dir_cleanup": _Key(bool, without="folders of instances are always removed"),
    "evacuation_delay": _Key(_NUMBER, without="apps are stopped at once when the DEA stops"),
}
_FILES = {"stager": _STAGER, "dea": _DEA}
_SECTIONS = ("logging", "dirs", "intervals", "status")
#: Keys that only one of the two has.
_TELLING = {
    room: {key.partition(".")[0] for key in keys}
    - {key.partition(".")[0] for other in _FILES.values() if other is not keys for key in other}
    for room, keys in _FILES.items()
}
_WHATS = {int: "a whole number", float: "a number", bool: "true or false", str: "text",
          list: "a list of texts"}  # fmt: skip


def read(text: str, name: str) -> Legacy:
    """The settings in the YAML *text* of the file *name*.

    Raises:
      ConfigError: not YAML, of neither a stager nor a DEA, or a value of the wrong type.
    """
    import yaml

    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(name, "", f"is not YAML{where}") from error
    if not isinstance(document, dict):
        raise ConfigError(name, "", "must be a mapping, as the original's are")
    said = _flat(document)
    legacy = Legacy(room=_room({key.partition(".")[0] for key in said}, name))
    for key, value in said.items():
        known = _FILES[legacy.room].get(key)
        if known is None:
            legacy.notes.append(
                f"{name}: {key} has no effect: the original did not know it either."
            )
        elif value is None:
            continue
        elif not _fits(value, known.kind):
            kind = known.kind if isinstance(known.kind, type) else float
            raise ConfigError(f"{name}: {key}", value, f"must be {_WHATS[kind]}")
        elif known.becomes is None:
            legacy.notes.append(f"{name}: {key} has no effect: {known.without}.")
        else:
            legacy.settings |= known.becomes(value)
    legacy.settings.setdefault("bus", NATS)
    legacy.settings["only"] = (legacy.room,)
    return legacy


def _flat(document: Mapping[Any, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and key in _SECTIONS:
            flat |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            flat[str(key)] = value
    return flat


def _room(keys: set[str], name: str) -> str:
    scores = {room: len(keys & telling) for room, telling in _TELLING.items()}
    room = max(scores, key=lambda one: scores[one])
    if not scores[room]:
        raise ConfigError(name, "", "has no key of a stager's or a DEA's configuration")
    return room


def _fits(value: object, kind: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is list:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, kind)
