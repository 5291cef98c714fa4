"""Reads the settings: a flag wins over the environment, over ``appliance.toml``, over the default.

The same key has three spellings: ``archiver.batch`` for people, ``batch`` in the table
``[archiver]`` of the file, and ``APPLIANCE_ARCHIVER_BATCH`` in the environment.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from appliance.config import Config, rooms
from appliance.kernel.errors import ApplianceError, ConfigError
from appliance.legacy import read as read_legacy

FILE = "appliance.toml"
PREFIX = "APPLIANCE_"

#: Read by the commands themselves (which appliance to talk to); no settings of a room.
CLIENT_VARIABLES = frozenset(
    {"APPLIANCE_API", "APPLIANCE_USER", "APPLIANCE_PASSWORD", "APPLIANCE_ORG", "APPLIANCE_SPACE"}
)

#: The listeners of the documented block of ports, which ``port`` and ``listen`` move.
LISTENERS = (
    "controller.bind",
    "registry.bind",
    "archiver.bind",
    "package_cache.bind",
    "router.bind",
    "dea.bind",
    "ssh.bind",
    "nats.bind",
    "nats.monitor_bind",
)
FIRST_PORT = 7700
BLOCK = 100  # ports; archivers and DEAs count up from theirs


class UnknownSetting(ConfigError):
    """A key that no room knows; the hint names the nearest one that exists."""

    code = "unknown-setting"

    def __init__(self, key: str, known: Iterable[str], *, where: str = "") -> None:
        ApplianceError.__init__(
            self, f"There is no setting {key}{where}.", hint=_suggestion(key, list(known))
        )
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The settings, and where each one that is not a default came from."""

    config: Config
    origins: Mapping[str, str]  # "archiver.batch": "appliance.toml", "env …", "flag …"
    notes: tuple[str, ...] = ()  # what a file says that has no effect here

    def rows(self) -> list[tuple[str, object, str]]:
        """Key, value and origin of every setting, in the order of `Config`."""
        found = []
        for key in _known():
            value: Any = self.config
            for part in key.split("."):
                value = getattr(value, part)
            found.append((key, value, self.origins.get(key, "default")))
        return found


def load(
    *, file: Path | None = None, environ: Mapping[str, str], flags: Mapping[str, object]
) -> Loaded:
    """Put the settings together.

    Args:
      file: The file to read, TOML or (of a stager or a DEA of 2012) YAML; None reads
        ``appliance.toml`` of the current folder, if any.
      flags: Settings by key, as given on the command line; None means not given. Besides
        settings there is ``port``: the first port of the block, 0 for any free ports.

    Raises:
      ConfigError: an unknown key, or a value that its rule forbids.
    """
    known = _known()
    given: dict[str, tuple[object, str]] = {}
    notes: list[str] = []
    if (path := _file(file)) is not None:
        if path.suffix in (".yml", ".yaml"):
            legacy = read_legacy(_text(path), path.name)
            found, notes = legacy.settings, legacy.notes
        else:
            found = _from_file(path, known)
        given |= {key: (value, str(path)) for key, value in found.items()}
    given |= _from_environ(environ, known)
    flags = {key: value for key, value in flags.items() if value is not None}
    port = flags.pop("port", None)
    if port is not None:
        given |= {key: (value, "flag --port") for key, value in _block(port).items()}
    for key, value in flags.items():
        if key not in known:
            raise UnknownSetting(key, known)
        given[key] = (value, f"flag --{key}")
    values = {key: coerce(key, value, known[key]) for key, (value, _) in given.items()}
    origins = {key: origin for key, (_, origin) in given.items()}
    _apply_listen(values, origins)
    return Loaded(config=_assemble(values), origins=origins, notes=tuple(notes))


def coerce(key: str, value: object, kind: Any) -> object:
    """*value*, perhaps text from the environment, as a *kind*.

    Raises:
      ConfigError: it cannot be one.
    """
    if _optional(kind):
        if value in ("", None):
            return None
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    if isinstance(value, str) and kind in (int, float, bool):
        return _parsed(key, value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str | Path):
        # As the shell would: the folder that the appliance is started in, not where it goes.
        return Path(value).expanduser().absolute()
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _several(key, value)
    if origin is dict:
        return _pairs(key, value)
    if type(value) is not kind:
        raise ConfigError(key, value, f"must be {_NAMES[kind]}")
    return value


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _parsed(key: str, text: str, kind: type) -> object:
    try:
        if kind is not bool:
            return kind(text)
        if text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
    except ValueError:
        pass
    raise ConfigError(key, text, f"must be {_NAMES[kind]}")


def _several(key: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ConfigError(key, value, "must be a list of texts")
    return tuple(value)


def _pairs(key: str, value: object) -> dict[str, str]:
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(sign for _, sign, _ in parts):
            raise ConfigError(key, value, "must be NAME=VALUE,NAME=VALUE")
        value = {name.strip(): one.strip() for name, _, one in parts}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ConfigError(key, value, "must be a table of texts")
    return dict(value)


def _optional(kind: Any) -> bool:
    return isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind)


def _known() -> dict[str, Any]:
    """The type of every setting by its key."""
    of_rooms = rooms()
    hints = typing.get_type_hints(Config)
    known = {f.name: hints[f.name] for f in fields(Config) if f.name not in of_rooms}
    for room, kind in of_rooms.items():
        hints = typing.get_type_hints(kind)
        known |= {f"{room}.{f.name}": hints[f.name] for f in fields(kind)}
    return known


def _file(file: Path | None) -> Path | None:
    if file is None:
        return Path(FILE) if Path(FILE).is_file() else None
    if not file.is_file():
        raise ConfigError("--config", str(file), "there is no such file")
    return file


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", f"is not text: {error}") from error


def _from_file(path: Path, known: Mapping[str, Any]) -> dict[str, object]:
    import tomllib

    try:
        document = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), "", f"is not TOML: {error}") from error
    of_rooms = rooms()
    flat: dict[str, object] = {}
    for key, value in document.items():
        if key in of_rooms and isinstance(value, dict):
            flat |= {f"{key}.{name}": one for name, one in value.items()}
        else:
            flat[key] = value
    for key in flat:
        if key not in known:
            raise UnknownSetting(key, known, where=f" in {path}")
    return flat


def _from_environ(
    environ: Mapping[str, str], known: Mapping[str, Any]
) -> dict[str, tuple[object, str]]:
    names = {_variable(key): key for key in known}
    found: dict[str, tuple[object, str]] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name in CLIENT_VARIABLES:
            continue
        if name not in names:
            raise UnknownSetting(name, names)
        found[names[name]] = (value, f"env {name}")
    return found


def _variable(key: str) -> str:
    return PREFIX + key.replace(".", "_").upper()


def _block(port: object) -> dict[str, object]:
    first = coerce("--port", port, int)
    assert isinstance(first, int)
    if first != 0 and not 1 <= first <= 65536 - BLOCK:
        rule = f"must be 0, or the first of {BLOCK} ports that end below 65536"
        raise ConfigError("--port", first, rule)
    moved = {}
    for key in LISTENERS:
        host, port_of_default = _default_bind(key)
        moved[key] = f"{host}:{first + port_of_default - FIRST_PORT if first else 0}"
    return dict(moved)


def _apply_listen(values: dict[str, object], origins: dict[str, str]) -> None:
    """Move every listener whose address nobody has given to the address of ``listen``."""
    listen = values.get("listen")
    if listen is None:
        return
    host = f"[{listen}]" if ":" in str(listen) else str(listen)
    # Whoever speaks to the bus commands every room: without a login it stays where it is.
    closed = any(values.get(f"nats.{name}") for name in ("user", "token"))
    for key in LISTENERS:
        if key.startswith("nats.") and not closed:
            continue
        if origins.get(key) in (None, "flag --port"):
            port = str(values.get(key, "")).rpartition(":")[2] or _default_bind(key)[1]
            values[key] = f"{host}:{port}"
            origins.setdefault(key, origins["listen"])


def _default_bind(key: str) -> tuple[str, int]:
    room, _, name = key.partition(".")
    host, _, port = getattr(getattr(Config(), room), name).rpartition(":")
    return host, int(port)


def _assemble(values: Mapping[str, Any]) -> Config:
    whole: dict[str, Any] = {}
    of_rooms: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        room, dot, name = key.partition(".")
        if dot:
            of_rooms.setdefault(room, {})[name] = value
        else:
            whole[key] = value
    kinds = rooms()
    return Config(**whole, **{room: kinds[room](**given) for room, given in of_rooms.items()})


def _suggestion(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not near:
        # A key in the wrong table is as common as a misspelt one.
        last = key.rpartition(".")[2]
        near = [one for one in known if one.rpartition(".")[2] == last][:1]
    return f"Did you mean {near[0]}?" if near else "`appliance config show` lists all settings."
