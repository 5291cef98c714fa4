"""What the connections of one router share: the table, kept connections, figures, choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from appliance.config import RouterConfig
from appliance.kernel.kit import Kit
from appliance.router.access import AccessLog
from appliance.router.detour import Detour, turn
from appliance.router.endpoint import Endpoint
from appliance.router.head import Request
from appliance.router.pool import Pool
from appliance.router.refusals import Refused
from appliance.router.route_service import Signer
from appliance.router.table import Route, RouteTable
from appliance.router.watch import Watch

if TYPE_CHECKING:
    from appliance.router.session import Session


@dataclass
class Figures:
    """What was counted since the start, for /varz."""

    requests: int = 0
    bad_requests: int = 0  # refused by the gate, or without a route
    bad_gateways: int = 0
    by_class: list[int] = field(default_factory=lambda: [0] * 10)  # answers, by status // 100


class Proxy:
    """What the connections of one router share."""

    def __init__(self, config: RouterConfig, kit: Kit) -> None:
        self.config = config
        self.kit = kit
        self.table = RouteTable(config.stale_after)
        self.pool = Pool(config.connect_timeout, kit.dialers)
        self.access = AccessLog(kit)
        shortest = min(config.head_timeout, config.app_timeout, config.idle_timeout)
        self.watch = Watch(min(1.0, shortest / 4))
        self.figures = Figures()
        self.sessions: set[Session] = set()
        self.draining = False
        self._signer = Signer((config.service_secret or kit.ids.hex(64)).encode())
        # An id has to be unique, not secret: one random part for all, and a number.
        self._id_prefix = kit.ids.guid()[:24].encode()
        self._id_numbers = count(int(kit.ids.hex(10), 16))

    def request_id(self) -> bytes:
        """A new X-Vcap-Request-Id, in the form of a GUID."""
        return b"%b%012x" % (self._id_prefix, next(self._id_numbers))

    def drain(self) -> None:
        """Close idle connections; the others close after the answer that they are in."""
        self.draining = True
        for session in list(self.sessions):
            session.drain()

    def next_endpoint(
        self, route: Route, request: Request, tried: list[Endpoint]
    ) -> Endpoint | None:
        """Whose turn it is, by the way of choosing that the route or the settings name."""
        way, spread, now = self.config.balance, route.spread, self.watch.now
        if spread is not None:
            if spread.way != "hash":
                way = spread.way
            elif value := request.field(spread.header):
                return route.hashed(value, spread.balance, now, tried)
        if way == "least-connection":
            return route.least_loaded(now, tried)
        return route.next(now, tried)

    def turn(self, request: Request, route: Route) -> Detour | Refused | None:
        """As `detour.turn`, now."""
        at, nonce = self.kit.clock.time(), self.kit.ids.hex(24)
        return turn(request, route, self.table, self._signer, at=at, nonce=nonce)
