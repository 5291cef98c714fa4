"""Relationships as request bodies spell them."""

from __future__ import annotations

import re
from typing import Any, Protocol

import msgspec

from fake_controller.errors import unprocessable
from fake_controller.model import Record


class Guid(msgspec.Struct):
    """``{"guid": …}``."""

    guid: str


class ToOne(msgspec.Struct):
    """``{"data": {"guid": …}}``."""

    data: Guid

    @property
    def guid(self) -> str:
        """The guid it leads to."""
        return self.data.guid


class ToOneOrNone(msgspec.Struct):
    """``{"data": {"guid": …}}`` or ``{"data": null}``."""

    data: Guid | None

    @property
    def guid(self) -> str | None:
        """The guid it leads to, if any."""
        return self.data.guid if self.data else None


class ToMany(msgspec.Struct):
    """``{"data": [{"guid": …}, …]}``."""

    data: list[Guid]

    @property
    def guids(self) -> list[str]:
        """The guids it leads to, each once."""
        return list(dict.fromkeys(each.guid for each in self.data))


class OfApp(msgspec.Struct):
    """``{"app": {"data": {"guid": …}}}``."""

    app: ToOne


class Metadata(msgspec.Struct):
    """Labels and annotations; a null removes one."""

    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None


class Labels(msgspec.Struct):
    """A change of nothing but labels and annotations, which every resource takes."""

    metadata: Metadata | None = None


class Labelled(Protocol):
    """Any body with ``metadata``."""

    metadata: Metadata | None


def new_labels(wanted: Labelled) -> dict[str, Any]:
    """The fields of a new record that ``metadata`` gives; checked."""
    given = wanted.metadata or Metadata()
    return {
        "labels": merged({}, check_labels(given.labels)),
        "annotations": merged({}, given.annotations),
    }


def relabelled(record: Record, wanted: Labelled) -> dict[str, Any]:
    """The fields of *record* that ``metadata`` changes; checked."""
    if wanted.metadata is None:
        return {}
    return {
        "labels": merged(record.labels, check_labels(wanted.metadata.labels)),
        "annotations": merged(record.annotations, wanted.metadata.annotations),
    }


_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)


def check_labels(labels: dict[str, str | None] | None) -> dict[str, str | None]:
    """*labels*, whose keys and values must be such that selectors can name them.

    Raises:
      CloudError: 422 with the key or value and its rule.
    """
    for key, value in (labels or {}).items():
        prefix, slash, name = key.rpartition("/")
        if slash and not _PREFIX.fullmatch(prefix):
            raise unprocessable(
                f"Metadata label key error: prefix '{prefix}' must be in valid dns format"
            )
        if not _PART.fullmatch(name):
            raise unprocessable(
                f"Metadata label key error: '{name}' must be at most 63 characters of letters, "
                "digits, '-', '_' and '.', with a letter or digit at both ends"
            )
        if value and not _PART.fullmatch(value):
            raise unprocessable(
                f"Metadata label value error: '{value}' must be at most 63 characters of letters, "
                "digits, '-', '_' and '.', with a letter or digit at both ends"
            )
    return labels or {}


def merged(have: dict[str, str], given: dict[str, str | None] | None) -> dict[str, str]:
    """*have* with *given* over it; None removes."""
    both = have | (given or {})
    return {name: value for name, value in both.items() if value is not None}


NAME_MOST = 255  # characters


def check_name(name: str) -> None:
    """What organizations, spaces and the like may be called."""
    if not name.strip():
        raise unprocessable("Name can't be blank")
    if len(name) > NAME_MOST:
        raise unprocessable(f"Name is too long (maximum is {NAME_MOST} characters)")
    if not name.isprintable():
        raise unprocessable("Name must not contain escaped characters")


def plain(wanted: msgspec.Struct) -> dict[str, Any]:
    """What a client asked for, without what it left out: for audit events."""
    asked: dict[str, Any] = msgspec.to_builtins(wanted)
    return {name: value for name, value in asked.items() if value is not None}
