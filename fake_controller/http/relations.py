"""Relationships as request bodies spell them."""

from __future__ import annotations

import msgspec


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


class OfApp(msgspec.Struct):
    """``{"app": {"data": {"guid": …}}}``."""

    app: ToOne


class Metadata(msgspec.Struct):
    """Labels and annotations; a null removes one."""

    labels: dict[str, str | None] = {}
    annotations: dict[str, str | None] = {}


def merged(have: dict[str, str], given: dict[str, str | None]) -> dict[str, str]:
    """*have* with *given* over it; None removes."""
    both = have | given
    return {name: value for name, value in both.items() if value is not None}
