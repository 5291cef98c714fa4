"""Every setting of every room, with its unit and its default. Nothing here does anything."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from appliance.kernel.errors import ConfigError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
SECONDS = 1.0
MINUTES = 60.0


def _positive(room: str, config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise ConfigError(f"{room}.{name}", value, "must be above 0")


def _one_of(key: str, value: str, *allowed: str) -> None:
    if value not in allowed:
        raise ConfigError(key, value, f"must be one of {', '.join(allowed)}")


def _runtimes() -> dict[str, str]:
    return {"python3": "python3", "ruby": "ruby"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ControllerConfig:
    """The fake controller: CAPI v3, UAA, log-cache front, staging endpoints of 2012."""

    bind: str = "127.0.0.1:7700"  # address and port; port 0 takes a free one
    external_url: str = ""  # what clients are told; "" for the address it listens on
    root: Path | None = None  # None: in memory, and a private temporary folder for bits
    archivers: tuple[str, ...] = ()  # base URLs with credentials; the first one stores
    archivers_announced: bool = False  # so do those that announce themselves; archiver.announced
    archiver_user: str = "archiver"  # login of those; archiver.user
    archiver_password: str = ""  # of that user; archiver.password
    user: str = "admin"  # who may log in from the start
    password: str = "admin"  # of that user; the documented default of a local tool
    org: str = "dev"  # exists from the start
    space: str = "dev"  # exists from the start, in that organization
    app_domain: str = "apps.localhost"  # shared; apps are NAME.apps.localhost
    app_port: int = 7780  # where the router listens, for the URLs that people are shown
    staging_user: str = "staging"  # the stagers' login for packages and droplets
    staging_password: str = ""  # "" makes one at start
    bulk_user: str = "bulk"  # the health manager's login for /bulk/apps
    bulk_password: str = ""  # "" makes one at start
    registry_password: str = ""  # of UAA client "registry"; "" makes one at start
    staging_timeout: float = 15 * MINUTES  # seconds, as cf's own
    max_package: int = 1 * GIB  # bytes
    max_buildpack: int = 2 * GIB  # bytes of a zip that an administrator uploads
    max_droplet: int = 1536 * MIB  # bytes
    default_memory: int = 256  # MB
    default_disk: int = 1024  # MB
    token_lifetime: float = 60 * MINUTES  # seconds
    dea_timeout: float = 25 * SECONDS  # an instance that no DEA speaks of is lost
    hold: float = 2 * SECONDS  # how long a GET of a build or of stats may wait for a change
    broker_timeout: float = 60 * SECONDS  # for each answer of a service broker
    broker_poll: float = 1 * SECONDS  # between looks at an operation; a broker may ask for more
    broker_operation: float = 7 * 24 * 60 * MINUTES  # the longest; a plan may ask for less

    def __post_init__(self) -> None:
        _positive(
            "controller",
            self,
            "staging_timeout",
            "max_package",
            "max_buildpack",
            "max_droplet",
            "default_memory",
            "default_disk",
            "token_lifetime",
            "broker_timeout",
            "broker_poll",
            "broker_operation",
            "dea_timeout",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StagerConfig:
    """One stager."""

    root: Path | None = None  # workspaces; None: a private temporary folder
    queues: tuple[str, ...] = ("staging",)  # each is subject and queue group
    max_active_tasks: int = 2  # stagings side by side in one stager
    max_waiting_tasks: int = 100  # above it the answer is an error at once
    max_staging_duration: float = 15 * MINUTES  # seconds
    max_package: int = 1 * GIB  # bytes, downloaded
    max_unpacked: int = 4 * GIB  # bytes, unpacked
    max_buildpack: int = 2 * GIB  # bytes of a classic buildpack's zip
    max_build_cache: int = 1 * GIB  # bytes that builds of one app may leave for the next one
    network: str = "none"  # of builds: none, or host, for buildpacks that download
    package_cache: str = ""  # base URL; "" stages without one
    bind: str = "127.0.0.1:0"  # its /varz and /healthz

    def __post_init__(self) -> None:
        _positive(
            "stager",
            self,
            "max_active_tasks",
            "max_staging_duration",
            "max_package",
            "max_buildpack",
            "max_build_cache",
        )
        _one_of("stager.network", self.network, "none", "host")


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageCacheConfig:
    """The package cache. ``[package_cache.runtimes]`` names interpreters to build for."""

    bind: str = "127.0.0.1:7770"  # address and port
    root: Path | None = None  # None: a private temporary folder
    purge_on_startup: bool = False  # begin with an empty cache
    offline: bool = False  # never ask an upstream index
    resolution_fresh: float = 10 * MINUTES  # seconds before pins are looked up again
    build_timeout: float = 5 * MINUTES  # seconds
    max_package: int = 1 * GIB  # bytes
    runtimes: dict[str, str] = field(default_factory=_runtimes)  # name: command to build for

    def __post_init__(self) -> None:
        _positive("package_cache", self, "build_timeout", "max_package")


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiverConfig:
    """One droplet archiver. ``ArchiverConfig()`` alone is a working node."""

    bind: str = "127.0.0.1:7760"  # address and port; the next archivers take the next ports
    root: Path | None = None  # None: in memory, and a private temporary folder for droplets
    user: str = "archiver"  # Basic login of every request but health checks
    password: str = ""  # "" makes one at start; peers must share it
    peers: tuple[str, ...] = ()  # base URLs of all archivers; its own among them does no harm
    announced: bool = False  # so are those that announce themselves on the bus; trust who is on it
    max_droplet: int = 1536 * MIB  # bytes
    batch: int = 32  # outbox rows sent side by side
    retry_first: float = 0.2 * SECONDS  # before a copy is tried again; doubled each time
    retry_most: float = 60 * SECONDS  # the longest wait between two tries
    reconcile_every: float = 45 * SECONDS  # compare holdings with each peer; 0 never does
    scrub_every: float = 360 * MINUTES  # read every droplet and check its digest; 0 never does
    scrub_rate: float = 16 * MIB  # bytes per second that scrubbing reads at most

    def __post_init__(self) -> None:
        _positive("archiver", self, "max_droplet", "batch", "scrub_rate")
        if not 0 < self.retry_first <= self.retry_most:
            rule = f"must be above 0 s and at most retry_most ({self.retry_most} s)"
            raise ConfigError("archiver.retry_first", self.retry_first, rule)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeaConfig:
    """One DEA: runs instances."""

    bind: str = "127.0.0.1:7790"  # its file viewer, /varz and /healthz
    root: Path | None = None  # instances and droplet cache; None: a private temporary folder
    host: str = "127.0.0.1"  # the address it gives to the router
    network: str = "host"  # of apps: the machine's, or isolated (their own, and nothing outside)
    runtimes: tuple[str, ...] = ()  # names of 2012 that are offered; empty: all that are installed
    force_http_sharing: bool = False  # never copy droplets from a path that an order names
    max_memory: int = 4096  # MB, to hand out
    max_instances: int = 1024  # on this DEA, of all apps
    heartbeat: float = 10 * SECONDS  # between two heartbeats
    advertise: float = 5 * SECONDS  # between two advertisements
    register: float = 20 * SECONDS  # routes are announced again this often
    start_timeout: float = 60 * SECONDS  # for an instance to listen, unless its app says other
    drain: float = 0.1 * SECONDS  # between leaving the routers and SIGTERM
    stop_timeout: float = 10 * SECONDS  # between SIGTERM and SIGKILL
    crash_lifetime: float = 60 * MINUTES  # a crashed instance's folder is kept this long
    monitor: float = 2 * SECONDS  # between looks at memory and disk

    def __post_init__(self) -> None:
        _positive(
            "dea",
            self,
            "max_memory",
            "max_instances",
            "heartbeat",
            "advertise",
            "start_timeout",
            "stop_timeout",
        )
        _one_of("dea.network", self.network, "host", "isolated")


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthManagerConfig:
    """The health manager."""

    controller: str = ""  # base URL; its /bulk/apps is read
    bind: str = "127.0.0.1:0"  # its /varz and /healthz
    look_every: float = 30 * SECONDS  # full comparisons
    grace: float = 3 * SECONDS  # an instance may be missing this long before it is ordered
    dea_timeout: float = 25 * SECONDS  # a DEA without heartbeats is lost
    restart_first: float = 1 * SECONDS  # delay after a crash, doubled each time
    restart_most: float = 5 * MINUTES  # the longest delay before a crashed instance starts again
    flapping_after: int = 5  # crashes in a row

    def __post_init__(self) -> None:
        _positive("health_manager", self, "look_every", "grace", "dea_timeout", "restart_first")


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterConfig:
    """The router."""

    bind: str = "127.0.0.1:7780"  # address and port; ::1 as well when this is 127.0.0.1
    status_bind: str = "127.0.0.1:0"  # its /varz, /healthz and /routes
    stale_after: float = 120 * SECONDS  # a route that is not announced again goes
    head_timeout: float = 10 * SECONDS  # to receive a whole request head
    app_timeout: float = 15 * MINUTES  # for an app to begin its answer
    connect_timeout: float = 5 * SECONDS  # to open a connection to an instance
    idle_timeout: float = 75 * SECONDS  # of a kept-alive client connection
    balance: str = "round-robin"  # or least-connection
    service_secret: str = ""  # seals requests to route services; all routers share it; "" makes one

    def __post_init__(self) -> None:
        _positive("router", self, "stale_after", "head_timeout", "app_timeout", "idle_timeout")
        _one_of("router.balance", self.balance, "round-robin", "least-connection")


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    """The registry: droplets as OCI images, read only."""

    bind: str = "127.0.0.1:7750"  # address and port
    root: Path | None = None  # converted layers; None: a private temporary folder
    controller: str = ""  # base URL
    client_secret: str = ""  # of UAA client "registry"
    rootfs: Path | None = None  # a tar or tar.gz to put below the droplet; None: droplet alone


@dataclass(frozen=True, kw_only=True, slots=True)
class LogsConfig:
    """The log store."""

    bind: str = "127.0.0.1:0"  # its /varz and /healthz
    per_source: int = 16 * MIB  # bytes kept for one app, 144 a line beside its text; the oldest go
    total: int = 64 * MIB  # bytes kept for all

    def __post_init__(self) -> None:
        _positive("logs", self, "per_source", "total")


@dataclass(frozen=True, kw_only=True, slots=True)
class SshConfig:
    """The ssh room: lets ``cf ssh`` and any other ssh client into instances."""

    bind: str = "127.0.0.1:7722"  # address and port; port 0 takes a free one
    external: str = ""  # host:port that clients are told; "" for where it listens
    root: Path | None = None  # the host key; None: a new one at each start
    status_bind: str = "127.0.0.1:0"  # its /varz and /healthz
    max_clients: int = 100  # connected at the same time; others wait

    def __post_init__(self) -> None:
        _positive("ssh", self, "max_clients")


@dataclass(frozen=True, kw_only=True, slots=True)
class NatsConfig:
    """The NATS listener of the local bus: any NATS client can watch and take part."""

    bind: str = "127.0.0.1:7742"  # address and port; "" for no listener
    monitor_bind: str = "127.0.0.1:7743"  # /varz, /connz, /subsz, /healthz; "" for none
    user: str = ""  # who may connect; "" and no token lets in everybody who reaches the port
    password: str = ""  # of that user
    token: str = ""  # lets in whoever knows it, without a user
    tls_cert: Path | None = None  # certificate, and with it TLS for every client
    tls_key: Path | None = None  # of that certificate; None: it is in the same file
    tls_ca: Path | None = None  # clients must show a certificate that these have signed
    auth_timeout: float = 2 * SECONDS  # for a client to log in
    max_payload: int = 1 * MIB  # bytes of headers and data in one message
    max_control_line: int = 4 * KIB  # bytes
    max_pending: int = 64 * MIB  # bytes that may wait for one client before it is cut off
    write_deadline: float = 10 * SECONDS  # a client that reads nothing this long is cut off
    ping_interval: float = 2 * MINUTES  # of silence before a client is asked whether it is there
    ping_max: int = 2  # unanswered pings before it is cut off
    max_connections: int = 4096  # fewer when the process may open fewer files
    max_subscriptions: int = 10_000  # of one client

    def __post_init__(self) -> None:
        _positive(
            "nats",
            self,
            "auth_timeout",
            "max_payload",
            "max_control_line",
            "max_pending",
            "write_deadline",
            "ping_interval",
            "ping_max",
            "max_connections",
            "max_subscriptions",
        )
        if self.max_payload > 1 * MIB:
            raise ConfigError("nats.max_payload", self.max_payload, "the bus takes 1 MiB at most")
        if self.password and not self.user:
            raise ConfigError("nats.password", "…", "needs nats.user")
        if (self.tls_key or self.tls_ca) and not self.tls_cert:
            raise ConfigError("nats.tls_cert", "", "must be given with nats.tls_key or nats.tls_ca")
        for name in ("user", "password", "token"):
            # Clients take them from a URL, and some do not decode it.
            if not re.fullmatch(r"[A-Za-z0-9._~-]*", getattr(self, name)):
                rule = "must be letters, digits, and any of . _ ~ -"
                raise ConfigError(f"nats.{name}", "…", rule)


@dataclass(frozen=True, kw_only=True, slots=True)
class NatsClientConfig:
    """How this process, and ``appliance bus``, log in to NATS servers, by one kind of login."""

    user: str = ""  # else the address of the bus says it
    password: str = ""  # of that user
    token: str = ""  # instead of a user
    nkey: Path | None = None  # file with the seed of an nkey
    creds: Path | None = None  # file with a user's JWT and seed
    ca: Path | None = None  # certificates that servers are trusted by; None: the machine's own
    cert: Path | None = None  # our own certificate, for servers that ask for one
    key: Path | None = None  # of that certificate
    tls_name: str = ""  # what a server's certificate must name; "" for its host


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The whole appliance. ``Config()`` alone is what ``appliance up`` starts."""

    state: Path | None = None  # folder that keeps everything; None: in memory, gone at exit
    listen: str = "127.0.0.1"  # address of every listener
    bus: str = "local"  # or nats://host:port[,nats://…]
    only: tuple[str, ...] = ()  # rooms that run in this process; empty: all of them
    controller_url: str = ""  # base URL of the controller, when it runs in another process
    router_url: str = ""  # base URL of a router in another process: commands look there for apps
    sandbox: str = "auto"  # auto, require (refuse to run without isolation), off
    verbose: bool = False  # show every event on stderr, as --verbose does
    pid_file: Path | None = None  # our pid, while we run; who has a living one there is refused
    status_user: str = ""  # login of every /varz, /healthz and /metrics; "" makes one at start
    status_password: str = ""  # of that user
    trace_events: int = 20_000  # kept for `appliance trace`
    stagers: int = 1  # how many; they share the queue
    archivers: int = 2  # how many; each has a copy of every droplet
    deas: int = 1  # how many; the controller asks which one has room
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    stager: StagerConfig = field(default_factory=StagerConfig)
    package_cache: PackageCacheConfig = field(default_factory=PackageCacheConfig)
    archiver: ArchiverConfig = field(default_factory=ArchiverConfig)
    dea: DeaConfig = field(default_factory=DeaConfig)
    health_manager: HealthManagerConfig = field(default_factory=HealthManagerConfig)
    router: RouterConfig = field(default_factory=RouterConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    logs: LogsConfig = field(default_factory=LogsConfig)
    ssh: SshConfig = field(default_factory=SshConfig)
    nats: NatsConfig = field(default_factory=NatsConfig)
    nats_client: NatsClientConfig = field(default_factory=NatsClientConfig)

    def __post_init__(self) -> None:
        _one_of("sandbox", self.sandbox, "auto", "require", "off")
        for name in ("stagers", "archivers", "deas"):
            if getattr(self, name) < 1:
                raise ConfigError(name, getattr(self, name), "must be at least 1")
        if self.bus != "local" and not self.bus.startswith(("nats://", "tls://")):
            raise ConfigError("bus", self.bus, "must be local or start with nats:// or tls://")
        for room in self.only:
            if room not in ROOMS:
                raise ConfigError("only", room, f"must be some of {', '.join(ROOMS)}")

    def runs(self, room: str) -> bool:
        """Whether *room* runs in this process."""
        return not self.only or room in self.only


def rooms() -> dict[str, type]:
    """The settings class of each room, by its table in ``appliance.toml``."""
    return {f.name: type(getattr(Config(), f.name)) for f in fields(Config) if f.name in _TABLES}


#: What ``only`` may name.
ROOMS = (
    "controller",
    "stager",
    "package_cache",
    "archiver",
    "dea",
    "health_manager",
    "router",
    "registry",
    "logs",
    "ssh",
)
_TABLES = (*ROOMS, "nats", "nats_client")
