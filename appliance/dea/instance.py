"""One instance as its DEA keeps it: what was ordered, its state, its looks on the wire. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from appliance.dea.messages import (
    FindDroplet,
    FoundInstance,
    HeartbeatInstance,
    Start,
    Stats,
    Stop,
    Usage,
)
from appliance.router.messages import Routing

State = Literal["STARTING", "RUNNING", "STOPPED", "CRASHED"]

MIB = 1024 * 1024
ISOLATED_PORT = 8080  # of every app whose network is its own, as on Cloud Foundry

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(eq=False, kw_only=True)
class Instance:
    """One instance, from the order on until its folder is gone."""

    order: Start
    id: str
    private_id: str  # 64 hex digits: what the router knows it by
    folder: Path
    host: str
    uris: list[str]
    routing: Mapping[str, Routing] = field(default_factory=dict)  # by URI
    since: float  # when it came into its state, seconds since 1970
    state: State = "STARTING"
    port: int | None = None
    isolated: bool = False  # its network is its own; *host* and *port* are those of a relay
    visitors: set[int] = field(default_factory=set)  # pids of what people run in it, by ssh
    began_at: float = 0.0  # on trio's clock, when its programs were started
    pid: int | None = None  # of the process that stands for all of it, sandbox included
    registered: list[str] = field(default_factory=list)  # URIs that routers were told
    task: str | None = None  # the name of the task that it is, if it is one
    leaving: bool = False  # it was asked to stop, and gets no routes any more
    ready: bool = True  # its readiness check, if it has one, is met
    running_since: float | None = None  # seconds since 1970
    memory: int = 0  # bytes used when it was last looked at
    disk: int = 0  # bytes
    cpu: float = 0.0  # percent of one core
    said: int = 0  # bytes of log lines, in all
    log_rate: float = 0.0  # bytes of log lines a second
    looked_at: str = ""  # RFC 3339
    exit_status: int | None = None
    exit_description: str | None = None

    @property
    def listens(self) -> tuple[str, int | None]:
        """The address and port that the app itself is to listen on."""
        if self.isolated and self.port is not None:
            return "127.0.0.1", ISOLATED_PORT
        return self.host, self.port

    @property
    def droplet(self) -> str:
        """What the wire calls it: always a string, though senders of 2012 use numbers."""
        return str(self.order.droplet)

    @property
    def live(self) -> bool:
        """Whether it starts or runs, and so holds its reservation."""
        return self.state in ("STARTING", "RUNNING")

    @property
    def routable(self) -> bool:
        """Whether requests may go to it."""
        return self.state == "RUNNING" and self.ready and not self.leaving

    @property
    def log_source(self) -> str:
        """Whose log its lines belong to, as one token of a subject."""
        return _UNSAFE.sub("-", self.order.app_id or self.droplet) or "-"

    @property
    def source_type(self) -> str:
        """What the lines of its main program are labelled with, e.g. ``APP/PROC/WEB``."""
        if self.task is not None:
            return f"APP/TASK/{self.task}"
        return f"APP/PROC/{self.order.process_type.upper()}"

    def source_of(self, program: int) -> str:
        """What the lines of one of its programs are labelled with: 0 is the main one."""
        if program == 0:
            return self.source_type
        return f"{self.source_type}/SIDECAR/{self.order.sidecars[program - 1].name.upper()}"

    def enter(self, state: State, now: float) -> None:
        """Come into *state* at *now*, seconds since 1970."""
        self.state, self.since = state, now
        if state == "RUNNING":
            self.running_since = now

    def heartbeat(self) -> HeartbeatInstance:
        """Its line in a heartbeat."""
        return HeartbeatInstance(
            droplet=self.droplet,
            version=self.order.version,
            instance=self.id,
            index=self.order.index,
            state=self.state,
            state_timestamp=int(self.since),
            cc_partition=self.order.cc_partition,
            routable=self.routable,
        )

    def found(self, dea: str, file_uri: str, credentials: list[str]) -> FoundInstance:
        """The answer to those who look for it, without figures."""
        return FoundInstance(
            dea=dea,
            version=self.order.version,
            droplet=self.droplet,
            instance=self.id,
            index=self.order.index,
            state=self.state,
            state_timestamp=self.since,
            file_uri=file_uri,
            credentials=credentials,
            staged=self.folder.name,
            exit_description=self.exit_description,
            routable=self.routable,
        )

    def stats(self, now: float, cores: int) -> Stats:
        """Its figures at *now*, seconds since 1970."""
        limits = self.order.limits
        usage = None
        if self.looked_at:
            usage = Usage(
                time=self.looked_at,
                cpu=round(self.cpu, 2),
                mem=round(self.memory / 1024, 1),
                disk=self.disk,
                log_rate=round(self.log_rate, 1),
            )
        return Stats(
            name=self.order.name,
            host=self.host,
            port=self.port,
            uris=list(self.uris),
            uptime=max(0.0, now - (self.running_since or now)),
            mem_quota=limits.mem * MIB,
            disk_quota=limits.disk * MIB,
            fds_quota=limits.fds,
            cores=cores,
            usage=usage,
            log_rate_limit=limits.log_rate,
        )


def matches(instance: Instance, wanted: Stop | FindDroplet) -> bool:
    """Whether *instance* has everything that *wanted* names."""
    if instance.droplet != str(wanted.droplet):
        return False
    if wanted.version is not None and instance.order.version != wanted.version:
        return False
    # Two names for one filter: the controller of 2012 sends the one, its DEA reads the other.
    for ids in (wanted.instances, wanted.instance_ids):
        if ids is not None and instance.id not in ids:
            return False
    if wanted.indices is not None and instance.order.index not in wanted.indices:
        return False
    return wanted.states is None or instance.state in wanted.states


def folder_name(order: Start, instance_id: str) -> str:
    """NAME-INDEX-INSTANCEID, as one harmless component of a path."""
    name = _UNSAFE.sub("-", order.name).strip("-")[:60] or "app"
    return f"{name}-{order.index}-{instance_id}"
