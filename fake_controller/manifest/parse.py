"""From the bytes of a manifest to plain values: bounded, and without YAML's surprises. Pure."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from fake_controller.errors import CloudError, unparsable, unprocessable

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 50_000
MAX_APPS = 200
TYPES = ("application/x-yaml", "text/yaml", "application/yaml", "text/x-yaml")
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_CORE = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}


class _Loader(_FAST):  # type: ignore[misc]
    """Safe YAML in which dates and clock times stay what they were written as: text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def _resolve(tag: str, first: str, pattern: str) -> None:
    """Plain text that begins with one of *first* and is *pattern* has *tag*."""
    _Loader.add_implicit_resolver(f"{_TAG}{tag}", re.compile(rf"(?:{pattern})\Z"), list(first))


_resolve("null", "~nN", "~|null|Null|NULL")
_Loader.yaml_implicit_resolvers.setdefault("", []).append((f"{_TAG}null", re.compile(r"\Z")))
_resolve("bool", "yYnNtTfFoO", "(?i:yes|no|true|false|on|off)")
_resolve("int", "-+0123456789", "[-+]?(?:0|[1-9][0-9]{0,30}|0x[0-9a-fA-F]{1,16}|0[0-7]{1,20})")
_resolve(
    "float",
    "-+.0123456789",
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?",
)
_resolve("merge", "<", "<<")


def check_type(content_type: str) -> None:
    """Raises 400 for a body that does not say it is YAML."""
    if content_type.partition(";")[0].strip().lower() not in TYPES:
        raise CloudError(400, 1004, "CF-BadRequest", "Bad request: Content-Type must be yaml")


def parse(data: bytes) -> list[Any]:
    """The entries of the manifest's ``applications``: whatever they are, not yet checked.

    Raises:
      CloudError: 400 for what is no YAML or out of bounds, 422 for another version of
        manifests, or none at all.
    """
    if len(data) > MAX_BYTES:
        raise unparsable(f"the manifest is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode()
        _check_shape(text)
        document = yaml.load(text, Loader=_Loader)
        _check_values(document)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise unparsable(_first_line(error)) from error
    if not isinstance(document, dict):
        document = {}
    if document.get("version") not in (None, False, 1):
        raise unprocessable(
            "Unsupported manifest schema version. Currently supported versions: [1]."
        )
    applications = document.get("applications")
    if not applications:
        raise unprocessable("Cannot parse manifest with no 'applications' field.")
    if not isinstance(applications, list):
        raise unprocessable("Applications must be an array of application configurations")
    if len(applications) > MAX_APPS:
        raise unprocessable(f"A manifest can have at most {MAX_APPS} applications.")
    return applications


class _Refused(ValueError):
    """YAML that manifests cannot use; says why."""


def _check_shape(text: str) -> None:
    """Look at the events, which take no memory, before anything is built of them."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_FAST):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused("anchors and aliases are not supported")
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        tag = getattr(event, "tag", None)
        if tag and tag != "!" and tag not in _CORE:
            raise _Refused(f"the tag {tag[:100]} is not supported")
        if depth > MAX_DEPTH:
            raise _Refused(f"the manifest is nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            raise _Refused(f"the manifest has more than {MAX_NODES} values")
        if documents > 1:
            raise _Refused("the manifest has more than one YAML document")


def _check_values(value: Any) -> None:
    """Nothing that could not be sent on as JSON, or put into an environment."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(key)
            _check_values(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_values(inner)
    elif isinstance(value, str):
        if "\0" in value:
            raise _Refused("the manifest has a NUL character")
        value.encode()  # half of a surrogate pair is a ValueError
    elif isinstance(value, float) and not math.isfinite(value):
        raise _Refused("the manifest has a number that is not finite")


def _first_line(error: Exception) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "invalid request body"
