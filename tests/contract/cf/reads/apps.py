"""Apps, and what they are told."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from .shape import Tagged, ToOne


class LifecycleData(Struct):
    """How it is built."""

    buildpacks: list[str]
    stack: str | None


class Lifecycle(Struct):
    """By its type the summary is laid out."""

    type: Literal["buildpack"]
    data: LifecycleData


class AppOf(Struct):
    """An app's relationships."""

    space: ToOne
    current_droplet: ToOne


class App(Tagged, kw_only=True):
    """An app."""

    name: str
    state: Literal["STARTED", "STOPPED"]
    lifecycle: Lifecycle
    relationships: AppOf


class Feature(Struct):
    """Something of an app that is on or off."""

    name: str
    description: str
    enabled: bool


class Enabled(Struct):
    """Whether ssh is allowed, and if not, why."""

    enabled: bool
    reason: str


class Env(Struct):
    """All that ``cf env`` shows."""

    staging_env_json: dict[str, Any]
    running_env_json: dict[str, Any]
    environment_variables: dict[str, Any]
    system_env_json: dict[str, Any]
    application_env_json: dict[str, Any]


class Var(Struct):
    """Environment variables."""

    var: dict[str, str]
