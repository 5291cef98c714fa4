"""What a manifest asks for, once it has been checked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessManifest:
    """One process type. *changes* and *scale* are fields of the `Process` record."""

    type: str
    changes: dict[str, Any] = field(default_factory=dict)  # command, health checks
    scale: dict[str, int] = field(default_factory=dict)  # instances, memory, disk, log rate


@dataclass(frozen=True, kw_only=True, slots=True)
class SidecarManifest:
    """A command that runs beside some process types; None is what it leaves as it is."""

    name: str
    command: str
    process_types: tuple[str, ...]
    memory_in_mb: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteManifest:
    """One entry of ``routes``."""

    url: str  # as it was written
    host: str  # with the domain, as nobody knows yet where that begins
    port: int | None = None
    path: str = ""
    options: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceManifest:
    """A service instance that the app is to be bound to."""

    name: str
    binding_name: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AppManifest:
    """One app of a manifest. None, and what is empty, is left as it is."""

    name: str
    buildpacks: tuple[str, ...] | None = None  # (): found out anew
    stack: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str | None] = field(default_factory=dict)
    annotations: dict[str, str | None] = field(default_factory=dict)
    features: dict[str, bool] = field(default_factory=dict)
    processes: tuple[ProcessManifest, ...] = ()
    sidecars: tuple[SidecarManifest, ...] = ()
    routes: tuple[RouteManifest, ...] | None = None
    no_route: bool = False
    random_route: bool = False
    default_route: bool = False
    services: tuple[ServiceManifest, ...] = ()
    submitted: dict[str, Any] = field(default_factory=dict)  # as it was written, for events
