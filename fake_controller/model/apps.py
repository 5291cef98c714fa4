"""An app, and how many of what it runs."""

from __future__ import annotations

from typing import ClassVar

from msgspec import field

from fake_controller.model.record import Record


class App(Record, frozen=True, kw_only=True):
    """An app: what is desired. `Process` says how many of what."""

    table: ClassVar[str] = "apps"
    indexed: ClassVar[tuple[str, ...]] = ("name", "space_guid", "state")

    name: str
    space_guid: str
    state: str = "STOPPED"  # or STARTED
    lifecycle: str = "buildpack"
    buildpacks: tuple[str, ...] = ()
    stack: str = "appliance"
    environment: dict[str, str] = field(default_factory=dict)
    droplet_guid: str | None = None  # the current one
    features: dict[str, bool] = field(default_factory=dict)  # those that were switched


#: Of one process: each look at it lists them all, and so does each start.
MOST_INSTANCES = 2_000


class Process(Record, frozen=True, kw_only=True):
    """One process type of an app. The first web process has the app's own guid.

    On the bus its guid is the ``droplet`` of every message.
    """

    table: ClassVar[str] = "processes"
    indexed: ClassVar[tuple[str, ...]] = ("app_guid", "type")

    app_guid: str
    type: str
    command: str | None = None  # None: the droplet's own
    instances: int = 1
    memory_in_mb: int
    disk_in_mb: int
    log_rate: int = -1  # bytes per second; -1 for no limit
    health_check_type: str = "port"
    health_check_timeout: int | None = None  # seconds to become healthy
    health_check_invocation_timeout: int | None = None  # seconds
    health_check_interval: int | None = None  # seconds
    health_check_endpoint: str | None = None
    readiness_type: str = "process"
    readiness_endpoint: str | None = None
    readiness_invocation_timeout: int | None = None
    readiness_interval: int | None = None
    droplet_guid: str | None = None  # while deploying: this one instead of the app's
    revision_guid: str | None = None  # what it was when it last started
    run_count: int = 0  # starts of this process; a part of the wire's version
