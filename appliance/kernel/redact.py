"""What must not be shown: secrets in names, addresses and texts. Pure.

The trace calls this for every event before any sink sees it, and /varz for every setting.
It goes by form, since it cannot know what is secret: rather a harmless value too many is
hidden than a password too few shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"

_NAMES = (
    r"passw(?:or)?d|passphrase|secret|token|credentials?|authorization|cookie"
    r"|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key"
)
#: Names whose value is hidden, whatever comes before: DB_PASSWORD, clientSecret, X-Auth-Token.
_SECRET_NAME = re.compile(rf"(?:{_NAMES}|^pass|^pwd)s?$", re.IGNORECASE)
#: Names that hold many values at once, all of which are the user's own.
_BAGS = frozenset(("env", "environ", "environment", "environment_variables", "vcap_services"))

#: A quick look: without one of these a text is as it may be, and most texts have none.
_SUSPECT = re.compile(rf"[=@]|eyJ|basic |bearer |{_NAMES}|vcap_services", re.IGNORECASE)

# None of these may take more than linear time: paths and error texts come from strangers.
_VCAP_SERVICES = re.compile(r"(VCAP_SERVICES)\W.*", re.DOTALL | re.IGNORECASE)
_AUTHORIZATION = re.compile(
    r"((?:proxy-)?authorization|(?:set-)?cookie)(\\*['\"]?\s*[:=,]\s*)[^\r\n}\])]+", re.IGNORECASE
)
#: At least one capital, digit or padding: "basic authentication" is a sentence.
_SCHEME = re.compile(r"\b((?i:basic|bearer))\s+(?=\S*[0-9=A-Z])[\w+/.~=-]{6,}")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}\.[\w.-]+")
#: Up to the last @ before the path; where a password has a slash, up to the next @.
_LOGIN_IN_URL = re.compile(
    r"(?<=://)(?:[^/\s?#\"'<>]+(?=@)|[^\s/@:\"'<>]{0,256}:(?!\d{1,5}/)[^\s@\"'<>]{1,256}(?=@))"
)
_VALUE = (
    r"\\+\".*?\\+\"|\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?"
    r"|\{.*|\[[^\]]*\]?|[^\s,;&\"'}\])]+"  # how deep braces go, only a parser could tell
)
_NAMED_VALUE = re.compile(
    rf"((?:{_NAMES}|\bpass|\bpwd)s?\\*['\"]?\s*[=:]\s*)(?:{_VALUE})", re.IGNORECASE | re.DOTALL
)
_BAG = re.compile(
    r"(\benv(?:iron(?:ment)?(?:_variables)?)?\\*['\"]?\s*[=:]\s*)(?:\{.*|\[[^\]]*\]?)",
    re.IGNORECASE | re.DOTALL,
)
#: An entry of an environment as lists have it: 'NAME=value', with whatever is in the value.
_QUOTED_ENTRY = re.compile(r"(['\"])([A-Za-z_]\w*)=(?:(?!\1)[^\\]|\\.)+(?:\1|\Z)", re.DOTALL)
#: And as command lines have it.
_BARE_ENTRY = re.compile(r"(?<![\w?&.-])([A-Z][A-Z0-9_]{2,})=(?!\*\*\*)[^\s,;]+")


@lru_cache(1024)
def is_secret(name: str) -> bool:
    """Whether what goes by *name* is for nobody's eyes."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """*text* with everything hidden that has the form of a secret."""
    if _SUSPECT.search(text) is None:
        return text
    text = _VCAP_SERVICES.sub(rf"\1={HIDDEN}", text)
    text = _AUTHORIZATION.sub(rf"\1\2{HIDDEN}", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    text = _JWT.sub(HIDDEN, text)
    text = _LOGIN_IN_URL.sub(HIDDEN, text)
    text = _NAMED_VALUE.sub(rf"\1{HIDDEN}", text)
    text = _QUOTED_ENTRY.sub(rf"\1\2={HIDDEN}\1", text)
    text = _BAG.sub(rf"\1{HIDDEN}", text)
    return _BARE_ENTRY.sub(rf"\1={HIDDEN}", text)


def redact_value(name: str, value: Any) -> Any:
    """*value*, which goes by *name*, as it may be shown; lists and mappings at every level."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if is_secret(name):
        return HIDDEN if value else value
    if name.lower() in _BAGS:
        return _bag(value)
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return redact_data(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_value("", inner) for inner in value]
    return redact(str(value))


def redact_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """*data* with each value as it may be shown."""
    return {name: redact_value(name, value) for name, value in data.items()}


def _bag(value: Any) -> Any:
    """Names alone: ``{"A": "***"}`` and ``["A=***"]``."""
    if isinstance(value, Mapping):
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, (list, tuple)):
        return [f"{str(entry).partition('=')[0]}={HIDDEN}" for entry in value]
    return HIDDEN if value else value
