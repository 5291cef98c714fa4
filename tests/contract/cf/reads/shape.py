"""What all resources have, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Guid = Annotated[str, Meta(min_length=1)]
Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Natural = Annotated[int, Meta(ge=0)]
LogRate = Annotated[int, Meta(ge=-1)]


class Named(Struct):
    """Something that has a guid."""

    guid: Guid


class ToOne(Struct):
    """A relationship."""

    data: Named | None

    @property
    def guid(self) -> str:
        """Where it leads; it leads somewhere."""
        assert self.data is not None
        return self.data.guid


class Link(Struct):
    """Another URL."""

    href: str


class Metadata(Struct):
    """What people have noted."""

    labels: dict[str, str]
    annotations: dict[str, str]


class Resource(Struct, kw_only=True):
    """What everything has."""

    guid: Guid
    created_at: Time
    updated_at: Time
    links: dict[str, Link]


class Tagged(Resource, kw_only=True):
    """What people may note something about."""

    metadata: Metadata


class OfApp(Struct):
    """``cf apps`` groups by it."""

    app: ToOne


class Error(Struct):
    """What went wrong."""

    code: int
    title: str
    detail: str


class JobWarning(Struct):
    """What is shown, and stops nothing."""

    detail: str


class Job(Struct):
    """What is polled; ``errors`` say why one failed."""

    guid: Guid
    operation: str
    state: Literal["PROCESSING", "POLLING", "COMPLETE", "FAILED"]
    errors: list[Error]
    warnings: list[JobWarning]
    created_at: Time
    updated_at: Time
    links: dict[str, Link]
