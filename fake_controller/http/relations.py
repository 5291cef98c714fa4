"""Relationships as request bodies spell them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from fake_controller.errors import unprocessable
from fake_controller.labelling import annotation_faults, label_faults
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
    given = _checked(wanted.metadata or Metadata())
    return {
        "labels": merged({}, given.labels),
        "annotations": merged({}, given.annotations),
    }


def relabelled(record: Record, wanted: Labelled) -> dict[str, Any]:
    """The fields of *record* that ``metadata`` changes; checked."""
    if wanted.metadata is None:
        return {}
    given = _checked(wanted.metadata)
    return {
        "labels": merged(record.labels, given.labels),
        "annotations": merged(record.annotations, given.annotations),
    }


def _checked(metadata: Metadata) -> Metadata:
    """*metadata* as it is. Raises 422 with all that is wrong with it."""
    faults = label_faults(metadata.labels or {}) + annotation_faults(metadata.annotations or {})
    if faults:
        raise unprocessable(", ".join(faults))
    return metadata


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
