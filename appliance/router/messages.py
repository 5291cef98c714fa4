"""What routers hear and say on the bus."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct, field


class RouterStart(Struct, frozen=True, kw_only=True):
    """A router began: everybody with routes registers them again."""

    subject: ClassVar[str] = "router.start"

    id: str
    version: float = 1.0
    hosts: list[str] = field(default_factory=list)
    minimumRegisterIntervalInSeconds: int = 20
    prunteThresholdInSeconds: int = 120


class RouterGreet(Struct, frozen=True, kw_only=True):
    """A late comer asks the routers for their `RouterStart`."""

    subject: ClassVar[str] = "router.greet"


class RouteOptions(Struct, frozen=True, kw_only=True):
    """How a route's requests are spread over its endpoints; without any, as the router is set."""

    loadbalancing: str | None = None  # round-robin, least-connection or hash
    hash_header: str | None = None  # for hash: equal values of this header, equal endpoint
    hash_balance: float | str | None = None  # for hash: most requests, as a multiple of the average


class Routing(Struct, frozen=True, kw_only=True):
    """What a route asks of the router besides leading to an app."""

    options: RouteOptions | None = None
    route_service_url: str | None = None  # requests go there first, and come back signed


class RouterRegister(Struct, frozen=True, kw_only=True):
    """This host and port answers for these URIs. Repeated, or it goes stale after 120 s."""

    subject: ClassVar[str] = "router.register"

    host: str
    port: int
    uris: list[str]
    dea: str | None = None
    app: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    private_instance_id: str | None = None
    private_instance_index: str | None = None
    stale_threshold_in_seconds: int | None = None
    options: RouteOptions | None = None  # of all these URIs; the latest registration's count
    route_service_url: str | None = None  # so is this one


class RouterUnregister(Struct, frozen=True, kw_only=True):
    """It no longer answers for these URIs."""

    subject: ClassVar[str] = "router.unregister"

    host: str
    port: int
    uris: list[str]
    dea: str | None = None
    app: str | None = None
    tags: dict[str, Any] = field(default_factory=dict)
    private_instance_id: str | None = None
