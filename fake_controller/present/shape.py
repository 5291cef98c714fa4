"""The shape that all resources share. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fake_controller.model import Record

Json = dict[str, Any]
HIDDEN = "[PRIVATE DATA HIDDEN IN LISTS]"


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds, ``Z``: the only form that every client parses."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_one(guid: str | None) -> Json:
    """A relationship to one record."""
    return {"data": {"guid": guid} if guid else None}


def to_many(guids: Iterable[str]) -> Json:
    """A relationship to several records."""
    return {"data": [{"guid": guid} for guid in guids]}


def relationship(data: Json, own: str, *, related: str | None = None) -> Json:
    """A relationship shown by itself, at the URL *own*; *related* is what it leads to."""
    links = {"self": {"href": own}}
    if related:
        links["related"] = {"href": related}
    return data | {"links": links}


def common(record: Record, base: str, path: str, *, metadata: bool = True) -> Json:
    """Guid, times, the link to itself, and labels and annotations where there are any."""
    shown: Json = {
        "guid": record.guid,
        "created_at": timestamp(record.created_at),
        "updated_at": timestamp(record.updated_at),
        "links": {"self": {"href": f"{base}/v3/{path}/{record.guid}"}},
    }
    if metadata:
        shown["metadata"] = {"labels": record.labels, "annotations": record.annotations}
    return shown
