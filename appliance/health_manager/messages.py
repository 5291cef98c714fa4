"""What the health manager hears and orders."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct, field


class Order(Struct, frozen=True, kw_only=True):
    """The health manager asks the controller to start or stop instances.

    The original's subject carries the partition; listeners subscribe with queue group ``cc``.
    """

    subject: ClassVar[str] = "cloudcontrollers.hm.requests.default"

    op: str  # START, STOP, SPINDOWN
    droplet: str
    version: str | None = None
    indices: list[int] = field(default_factory=list)  # START
    instances: list[str] = field(default_factory=list)  # STOP: instance ids
    last_updated: int = 0  # seconds since 1970: the desired state that this order is based on
    flapping: bool | None = None


class HealthManagerStart(Struct, frozen=True, kw_only=True):
    """The health manager began: DEAs send a heartbeat at once."""

    subject: ClassVar[str] = "healthmanager.start"


class StatusRequest(Struct, frozen=True, kw_only=True):
    """Which instances of *droplet* are FLAPPING or CRASHED? Answered by `StatusReply`."""

    subject: ClassVar[str] = "healthmanager.status"

    droplet: str
    version: str
    state: str  # FLAPPING or CRASHED


class StatusReply(Struct, frozen=True, kw_only=True):
    """``indices`` for FLAPPING, ``instances`` for CRASHED."""

    indices: list[dict[str, int]] | None = None  # [{"index", "since"}]
    instances: list[dict[str, str | int]] | None = None  # [{"instance", "since"}]


class HealthRequest(Struct, frozen=True, kw_only=True):
    """How many instances of each droplet are running? One `HealthReply` per droplet."""

    subject: ClassVar[str] = "healthmanager.health"

    droplets: list[dict[str, str]]  # [{"droplet", "version"}]


class HealthReply(Struct, frozen=True, kw_only=True):
    """Running instances of one droplet."""

    droplet: str
    healthy: int
