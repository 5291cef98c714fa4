"""What apps are built from, by and into."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from .shape import Named, Natural, OfApp, Tagged


class PackageData(Struct):
    """Its bytes."""

    checksum: dict[str, str | None]
    error: str | None


class Package(Tagged, kw_only=True):
    """A package."""

    type: Literal["bits"]
    state: Literal["AWAITING_UPLOAD", "PROCESSING_UPLOAD", "READY", "FAILED", "COPYING", "EXPIRED"]
    data: PackageData
    relationships: OfApp


class Build(Tagged, kw_only=True):
    """A build."""

    state: Literal["STAGING", "STAGED", "FAILED"]
    error: str | None
    package: Named
    droplet: Named | None


class DropletBuildpack(Struct):
    """What built it."""

    name: str
    detect_output: str | None
    version: str | None = None
    buildpack_name: str | None = None


class DropletLifecycle(Struct):
    """How it was made."""

    type: str


class Droplet(Tagged, kw_only=True):
    """A droplet."""

    state: Literal["AWAITING_UPLOAD", "PROCESSING_UPLOAD", "STAGED", "COPYING", "FAILED", "EXPIRED"]
    lifecycle: DropletLifecycle
    stack: str | None
    image: str | None
    buildpacks: list[DropletBuildpack] | None
    relationships: OfApp


class Buildpack(Tagged, kw_only=True):
    """A buildpack."""

    name: str
    stack: str | None
    position: Natural
    enabled: bool
    locked: bool
    state: str
    filename: str | None
    lifecycle: str


class Stack(Tagged, kw_only=True):
    """A stack."""

    name: str
    description: str
