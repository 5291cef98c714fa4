"""What DEAs hear and say on the bus: the droplet execution protocol of 2012."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct, field

from appliance.router.messages import Routing


class Limits(Struct, frozen=True, kw_only=True):
    """What one instance may use."""

    mem: int = 512  # MB
    disk: int = 1024  # MB
    fds: int = 16384
    log_rate: int = -1  # ours: bytes of log lines a second; -1: not limited, 0: none at all


class Sidecar(Struct, frozen=True, kw_only=True):
    """A command beside the main one of an instance: same files, network and environment.

    Its lines are labelled ``APP/PROC/WEB/SIDECAR/NAME``. When one of an instance's commands
    ends, all of them do, and the instance has crashed.
    """

    name: str
    command: str
    memory: int | None = None  # MB of the instance's own; its MEMORY_LIMIT says so


class Discover(Struct, frozen=True, kw_only=True):
    """Who would take this app? Answered by `Hello` after the taint delay, or not at all."""

    subject: ClassVar[str] = "dea.discover"

    droplet: str | int
    limits: Limits = field(default_factory=Limits)
    runtime_info: dict[str, Any] | None = None
    prod: bool | None = None
    name: str | None = None
    runtime: str | None = None
    sha: str | None = None


class Hello(Struct, frozen=True, kw_only=True):
    """A DEA that is there (``dea.start``), or that would take an app (reply to `Discover`)."""

    subject: ClassVar[str] = "dea.start"

    id: str
    ip: str
    port: int  # of its file viewer
    version: float = 0.99


class Status(Struct, frozen=True, kw_only=True):
    """Ask every DEA for its state; answered by `StatusReply`."""

    subject: ClassVar[str] = "dea.status"


class StatusReply(Struct, frozen=True, kw_only=True):
    """How full a DEA is."""

    id: str
    ip: str
    port: int
    max_memory: float  # MB
    reserved_memory: float  # MB
    used_memory: float  # MB
    num_clients: int
    version: float = 0.99
    state: str | None = None  # only while shutting down


class Locate(Struct, frozen=True, kw_only=True):
    """Ask every DEA to advertise at once."""

    subject: ClassVar[str] = "dea.locate"


class Advertise(Struct, frozen=True, kw_only=True):
    """A DEA with room, every 5 s and at each change. A full DEA is silent."""

    subject: ClassVar[str] = "dea.advertise"

    id: str
    available_memory: float  # MB
    runtimes: list[str]
    prod: bool | None = None


class Start(Struct, frozen=True, kw_only=True):
    """Run one instance. Sent to ``dea.UUID.start``; never answered: watch the heartbeats.

    The fields after ``cc_partition`` are ours; a DEA of 2012 ignores them. A health check is
    ``{"type": "port", "process" or "http", "timeout": to get healthy, "interval": of looks at a
    healthy one, "invocation_timeout": of one look, "endpoint": "/path"}``, times in seconds;
    all but the type may be left out.
    """

    subject: ClassVar[str] = "dea.*.start"

    droplet: str | int  # the process that runs (for the web process, the app's guid)
    index: int
    name: str
    version: str  # STAGEDSHA-RUNCOUNT
    sha1: str
    executableFile: str
    executableUri: str
    uris: list[str] = field(default_factory=list)
    services: list[dict[str, Any]] = field(default_factory=list)  # "label" groups VCAP_SERVICES
    env: list[str] = field(default_factory=list)  # "NAME=value"
    users: list[str] = field(default_factory=list)
    runtime: str | None = None
    runtime_info: dict[str, Any] | None = None
    framework: str | None = None
    prod: bool | None = None
    limits: Limits = field(default_factory=Limits)
    debug: str | None = None
    console: bool | None = None
    flapping: bool | None = None
    cc_partition: str = "default"
    executableUris: list[str] = field(default_factory=list)
    sha256: str | None = None
    app_id: str | None = None  # the app's guid: where its log lines go
    process_type: str = "web"
    command: str | None = None  # replaces the droplet's own start command
    instance_guid: str | None = None
    health_check: dict[str, Any] | None = None  # how its health is found out
    readiness_health_check: dict[str, Any] | None = None  # whether it gets requests; no "timeout"
    sidecars: list[Sidecar] = field(default_factory=list)
    #: How services are told: "variable" (VCAP_SERVICES), "file" (the same as a file), or
    #: "folders" (one for each, with a file for each value).
    services_as: str = "variable"
    port_wanted: bool | None = None  # None: a port when there are URIs, as in 2012
    vcap_application: dict[str, Any] | None = None  # merged over what the DEA makes
    routing: dict[str, Routing] = field(default_factory=dict)  # by URI, what its route asks for


class Stop(Struct, frozen=True, kw_only=True):
    """Stop what matches; all but ``droplet`` may be left out, and all that is given must match."""

    subject: ClassVar[str] = "dea.stop"

    droplet: str | int
    version: str | None = None
    instances: list[str] | None = None  # instance ids
    instance_ids: list[str] | None = None  # the name that the 2012 controller really sends
    indices: list[int] | None = None
    states: list[str] | None = None


class Update(Struct, frozen=True, kw_only=True):
    """The URIs of an app changed: register what is new, unregister what is gone."""

    subject: ClassVar[str] = "dea.update"

    droplet: str | int
    uris: list[str]
    routing: dict[str, Routing] = field(default_factory=dict)  # ours: as in `Start`


class FindDroplet(Struct, frozen=True, kw_only=True):
    """Ask for instances that match; one `FoundInstance` per match."""

    subject: ClassVar[str] = "dea.find.droplet"

    droplet: str | int
    version: str | None = None
    instances: list[str] | None = None
    instance_ids: list[str] | None = None
    indices: list[int] | None = None
    states: list[str] | None = None
    include_stats: bool = False


class Usage(Struct, frozen=True, kw_only=True):
    """What an instance used at *time*."""

    time: str  # RFC 3339
    cpu: float  # percent of one core
    mem: float  # KB, as in 2012
    disk: int  # bytes
    log_rate: float = 0.0  # ours: bytes of log lines a second


class Stats(Struct, frozen=True, kw_only=True):
    """Figures of one running instance."""

    name: str
    host: str
    port: int | None
    uris: list[str]
    uptime: float  # seconds
    mem_quota: int  # bytes
    disk_quota: int  # bytes
    fds_quota: int
    cores: int = 1
    usage: Usage | None = None
    log_rate_limit: int = -1  # ours: bytes a second; -1: none


class FoundInstance(Struct, frozen=True, kw_only=True):
    """Reply to `FindDroplet`."""

    dea: str
    version: str
    droplet: str
    instance: str
    index: int
    state: str  # STARTING RUNNING STOPPED CRASHED
    state_timestamp: float  # seconds since 1970
    file_uri: str = ""
    credentials: list[str] = field(default_factory=list)
    staged: str = ""
    stats: Stats | None = None
    exit_description: str | None = None  # ours
    routable: bool | None = None  # ours: whether requests may go to it


class DropletStatus(Struct, frozen=True, kw_only=True):
    """Ask for one `Stats` per live instance of all apps; subject of 2012."""

    subject: ClassVar[str] = "droplet.status"


class HeartbeatInstance(Struct, frozen=True, kw_only=True):
    """One instance in a heartbeat."""

    droplet: str
    version: str
    instance: str
    index: int
    state: str
    state_timestamp: int  # seconds since 1970
    cc_partition: str = "default"
    routable: bool | None = None  # ours: RUNNING, and its readiness check is met


class Heartbeat(Struct, frozen=True, kw_only=True):
    """All instances of a DEA every 10 s, and one alone when it becomes RUNNING (or STARTING).

    Also one alone when it becomes routable, or stops to be.
    """

    subject: ClassVar[str] = "dea.heartbeat"

    droplets: list[HeartbeatInstance]
    dea: str
    prod: bool | None = None


class DropletExited(Struct, frozen=True, kw_only=True):
    """An instance ended: STOPPED, CRASHED, DEA_EVACUATION or DEA_SHUTDOWN."""

    subject: ClassVar[str] = "droplet.exited"

    droplet: str
    version: str
    instance: str
    index: int
    reason: str
    cc_partition: str = "default"
    crash_timestamp: int | None = None  # only when it crashed
    exit_status: int | None = None  # ours: of its program, 128 + N for signal N
    exit_description: str | None = None  # ours: a sentence, e.g. "Exited with status 1"
    dea: str | None = None  # ours: the one it ran on
