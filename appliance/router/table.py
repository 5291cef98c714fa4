"""Which endpoints answer for a host and path, which of them is next, and which are stale."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from appliance.router.balance import Spread, by_hash
from appliance.router.endpoint import Address, Endpoint
from appliance.router.route_service import Service

RETRY_AFTER = 5.0  # seconds that an endpoint is skipped after it could not be reached


@dataclass(slots=True, eq=False)
class Member:
    """An endpoint in one route, and until when it stays there without a new registration."""

    endpoint: Endpoint
    seen: float
    stale_after: float  # seconds

    def stale(self, now: float) -> bool:
        """Whether it has not been announced for too long."""
        return now - self.seen > self.stale_after


class Route:
    """One URI and the endpoints that answer for it."""

    __slots__ = ("_order", "_turn", "members", "path", "service", "spread", "uri")

    def __init__(self, uri: str, path: str) -> None:
        self.uri = uri
        self.path = path  # prefix, without a final slash; "" for all
        self.spread: Spread | None = None  # as its options ask; None: as the router is set
        self.service: Service | None = None  # requests go there first
        self.members: dict[Address, Member] = {}
        self._order: list[Endpoint] = []
        self._turn = 0

    def put(self, member: Member) -> None:
        """Add or replace the member with this address."""
        self.members[member.endpoint.address] = member
        self._order = [each.endpoint for each in self.members.values()]

    def drop(self, address: Address) -> None:
        """Remove the member with this address."""
        self.members.pop(address, None)
        self._order = [each.endpoint for each in self.members.values()]

    def next(self, now: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """The endpoint whose turn it is, not one of *tried*.

        Those that failed lately are skipped; when all did, the one that has rested
        longest is used all the same, since a wrong 502 is worse than a slow one.
        """
        order = self._order
        if len(order) == 1 and not tried:
            return order[0]
        resting: Endpoint | None = None
        for step in range(len(order)):
            endpoint = order[(self._turn + step) % len(order)]
            if endpoint in tried:
                continue
            if endpoint.failed_until <= now:
                self._turn = (self._turn + step + 1) % len(order)
                return endpoint
            if resting is None or endpoint.failed_until < resting.failed_until:
                resting = endpoint
        return resting

    def least_loaded(self, now: float, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """The endpoint with the fewest requests in flight; equals take turns."""
        first = self.next(now, tried)
        if first is None or not first.active:
            return first
        others = [e for e in self._order if e not in tried and e.failed_until <= now]
        return min(others, key=lambda each: each.active, default=first)

    def hashed(
        self, value: bytes, balance: float, now: float, tried: Collection[Endpoint] = ()
    ) -> Endpoint | None:
        """The endpoint of a header's *value*, as `by_hash`; any, when all have failed lately."""
        return by_hash(self._order, value, balance, now, tried) or self.next(now, tried)

    def instance(self, instance: str) -> Endpoint | None:
        """The endpoint with this private instance id, for sticky sessions."""
        return next((each for each in self._order if each.instance == instance), None)

    def indexed(self, app: str, index: str) -> Endpoint | None:
        """The endpoint of *app* with this index, for ``X-Cf-App-Instance``."""
        return next((e for e in self._order if e.app == app and e.index == index), None)


class RouteTable:
    """All routes. Times are seconds on one clock of the caller's choice."""

    def __init__(self, stale_after: float) -> None:
        self._stale_after = stale_after
        self._hosts: dict[str, list[Route]] = {}  # the longest path first
        self._endpoints: dict[Address, Endpoint] = {}
        self.updated = 0.0  # when a registration was last heard

    def register(
        self,
        endpoint: Endpoint,
        uris: Collection[str],
        now: float,
        stale_after: float | None = None,
        spread: Spread | None = None,
        service: Service | None = None,
    ) -> list[str]:
        """Note that *endpoint* answers for *uris*; the URIs that are new for it.

        How their requests are spread, and the service they go to first, are as said last.

        A port is soon used again. When *endpoint* has another instance id than the one
        known at its address, that one is gone, and all its routes with it: otherwise
        one app's requests would reach another.
        """
        self.updated = now
        known = self._endpoints.get(endpoint.address)
        if known is not None and _other(known, endpoint):
            for route in list(self._routes_of(known.address)):
                self._leave(route, known.address)
            known = None
        if known is None:
            known = self._endpoints[endpoint.address] = endpoint
        else:
            known.describe(endpoint)
        limit = min(stale_after or self._stale_after, self._stale_after)
        added = []
        for uri in uris:
            host, path = split_uri(uri)
            if not host:
                continue
            route = self._route(host, path)
            if known.address not in route.members:
                added.append(route.uri)
            route.spread, route.service = spread, service
            route.put(Member(known, now, limit))
        return added

    def unregister(self, address: Address, uris: Collection[str], instance: str = "") -> list[str]:
        """Note that *address* no longer answers for *uris*; those that it had.

        With *instance*, nothing happens when another instance is known there by now.
        """
        known = self._endpoints.get(address)
        if known is None or (instance and known.instance and known.instance != instance):
            return []
        removed = []
        for uri in uris:
            route = self._find(*split_uri(uri))
            if route is not None and address in route.members:
                self._leave(route, address)
                removed.append(route.uri)
        return removed

    def prune(self, now: float) -> list[tuple[str, Endpoint]]:
        """Remove what has not been announced again in time; URI and endpoint of each."""
        pruned = []
        for route in list(self.routes()):
            for member in list(route.members.values()):
                if member.stale(now):
                    self._leave(route, member.endpoint.address)
                    pruned.append((route.uri, member.endpoint))
        return pruned

    def find(self, host: str, path: str) -> Route | None:
        """The route for a request: exact host before wildcard, longest path first.

        Args:
          host: Lower case, without port.
          path: Raw, with or without a query.
        """
        routes = self._hosts.get(host)
        if routes is not None and (route := _by_path(routes, path)) is not None:
            return route
        while "." in host:
            host = host.partition(".")[2]
            routes = self._hosts.get("*." + host)
            if routes is not None and (route := _by_path(routes, path)) is not None:
                return route
        return None

    def routes(self) -> Iterator[Route]:
        """All routes."""
        for routes in self._hosts.values():
            yield from routes

    @property
    def endpoints(self) -> Collection[Endpoint]:
        """All endpoints that are in a route."""
        return self._endpoints.values()

    def _route(self, host: str, path: str) -> Route:
        route = self._find(host, path)
        if route is None:
            route = Route(host + path, path)
            routes = self._hosts.setdefault(host, [])
            routes.append(route)
            routes.sort(key=lambda each: -len(each.path))
        return route

    def _find(self, host: str, path: str) -> Route | None:
        return next((each for each in self._hosts.get(host, ()) if each.path == path), None)

    def _routes_of(self, address: Address) -> Iterator[Route]:
        return (route for route in self.routes() if address in route.members)

    def _leave(self, route: Route, address: Address) -> None:
        route.drop(address)
        if not route.members:
            host = split_uri(route.uri)[0]
            self._hosts[host].remove(route)
            if not self._hosts[host]:
                del self._hosts[host]
        if not any(self._routes_of(address)):
            self._endpoints.pop(address, None)


def split_uri(uri: str) -> tuple[str, str]:
    """A registered URI as lower-case host and path prefix; ``/`` alone is no prefix."""
    host, slash, path = uri.partition("/")
    return host.strip().lower(), (slash + path.partition("?")[0]).rstrip("/")


def _other(known: Endpoint, new: Endpoint) -> bool:
    return bool(known.instance and new.instance and known.instance != new.instance)


def _by_path(routes: list[Route], path: str) -> Route | None:
    for route in routes:
        prefix = route.path
        if not prefix:
            return route
        # "/shop" answers for /shop, /shop/cart and /shop?x=1, not for /shopping.
        if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/", "?"):
            return route
    return None
