"""From files to a droplet."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import field

from fake_controller.model.record import Record


class Package(Record, frozen=True, kw_only=True):
    """The app's files as they were pushed."""

    table: ClassVar[str] = "packages"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "state")

    app_guid: str
    type: str = "bits"
    state: str = "AWAITING_UPLOAD"  # PROCESSING_UPLOAD READY FAILED COPYING
    sha256: str | None = None
    size: int | None = None  # bytes
    error: str | None = None


class Build(Record, frozen=True, kw_only=True):
    """One attempt to turn a package into a droplet."""

    table: ClassVar[str] = "builds"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "package_guid", "state")

    app_guid: str
    package_guid: str
    state: str = "STAGING"  # STAGED FAILED
    error: str | None = None
    droplet_guid: str | None = None
    buildpacks: tuple[str, ...] = ()
    stack: str = "appliance"
    memory_in_mb: int = 1024
    disk_in_mb: int = 1024
    created_by: dict[str, str] = field(default_factory=dict)
    task_log: str = ""
    failure: dict[str, Any] | None = None  # phase, code, hint, exit_code
    staging: dict[str, Any] | None = None  # sandbox, phases, as the stager told


class Droplet(Record, frozen=True, kw_only=True):
    """A staged app. The bytes are on the archivers, under app_guid and sha1."""

    table: ClassVar[str] = "droplets"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "package_guid", "state")

    app_guid: str
    package_guid: str | None = None
    state: str = "AWAITING_UPLOAD"  # PROCESSING_UPLOAD STAGED FAILED COPYING
    sha1: str | None = None
    sha256: str | None = None
    size: int | None = None  # bytes
    process_types: dict[str, str] = field(default_factory=dict)
    detected: str | None = None
    buildpacks: tuple[dict[str, str | None], ...] = ()  # as the stager told, and as V3 shows them
    sidecars: tuple[dict[str, Any], ...] = ()  # of buildpacks: name, command, process_types, memory
    execution_metadata: str = ""
    stack: str | None = None
    error: str | None = None
