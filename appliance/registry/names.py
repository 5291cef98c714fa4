"""Names of the distribution API: paths, repositories, tags and pages. Pure.

Source: OCI Distribution Specification 1.1, “Pulling manifests” and “Listing Tags”.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from appliance.registry.errors import (
    DigestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    PaginationInvalid,
)

MAX_NAME = 255  # characters, of the name alone; clients count the host too
PAGE = 100  # names in one answer of the catalog, unless asked otherwise
MAX_PAGE = 1000

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

Kind = Literal["base", "catalog", "tags", "manifests", "blobs", "referrers"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a path under ``/v2/`` asks for."""

    kind: Kind
    repository: str = ""
    reference: str = ""  # a tag or a digest


def parse(path: str) -> Wanted:
    """What *path*, without its leading ``/v2/``, asks for.

    Raises:
      NameInvalid, DigestInvalid: a part breaks the specification's grammar.
      ManifestUnknown: a tag that nothing can have.
      NameUnknown: a path that is none of the API's.
    """
    if path == "":
        return Wanted("base")
    if path == "_catalog":
        return Wanted("catalog")
    name, _, last = path.rpartition("/")
    name, _, kind = name.rpartition("/")
    if kind == "tags" and last == "list":
        return Wanted("tags", repository(name))
    if kind == "manifests":
        if ":" not in last and not _TAG.match(last):
            raise ManifestUnknown(f"{last[:200]!r} cannot be a tag.")
        return Wanted("manifests", repository(name), digest(last) if ":" in last else last)
    if kind == "blobs":
        return Wanted("blobs", repository(name), digest(last))
    if kind == "referrers":
        return Wanted("referrers", repository(name), digest(last))
    raise NameUnknown("This is no path of the distribution API.")


def repository(name: str) -> str:
    """*name*, checked."""
    if len(name) > MAX_NAME or not _REPOSITORY.match(name):
        raise NameInvalid(f"{name[:200]!r} cannot be the name of a repository.")
    return name


def digest(text: str) -> str:
    """*text*, checked to be ``sha256:<64 hex>``."""
    if not _DIGEST.match(text):
        raise DigestInvalid(f"{text[:200]!r} is no sha256 digest.")
    return text


def is_digest(reference: str) -> bool:
    """Whether a checked reference is a digest; else it is a tag."""
    return ":" in reference


def is_guid(name: str) -> bool:
    """Whether *name* looks like an app's guid."""
    return _GUID.match(name) is not None


def slug(name: str) -> str:
    """The component of a repository's name for something called *name*.

    Apps may have capitals and spaces in their names, repositories may not.
    """
    if re.fullmatch(_COMPONENT, name):
        return name
    plain = re.sub(r"[^a-z0-9._]+", "-", name.lower())
    plain = re.sub(r"[._-]*-[._-]*|\.[._]+|_\.+|_{3,}", "-", plain)
    return plain.strip("._-")


def page(
    names: Sequence[str], query: Mapping[str, str], path: str, *, default: int | None = None
) -> tuple[list[str], str]:
    """One page of *names*, sorted, and its ``Link`` header ("" on the last page).

    Raises:
      PaginationInvalid: ``n`` is no number.
    """
    ordered = sorted(set(names))
    if last := query.get("last", ""):
        ordered = [name for name in ordered if name > last]
    count = default
    if "n" in query:
        if not (query["n"].isascii() and query["n"].isdigit() and len(query["n"]) < 10):
            raise PaginationInvalid("n must be a number from 0 on.")
        count = min(int(query["n"]), MAX_PAGE)
    if count is None or count >= len(ordered):
        return ordered, ""
    if count == 0:
        return [], ""
    shown = ordered[:count]
    following = urlencode({"n": count, "last": shown[-1]})
    return shown, f'<{path}?{following}>; rel="next"'
