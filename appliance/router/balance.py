"""How a route's requests are spread over its endpoints, when its owner asked for a way. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil, isfinite

from appliance.router.endpoint import Endpoint
from appliance.router.messages import RouteOptions

WAYS = ("round-robin", "least-connection", "hash")


class BadOptions(Exception):
    """Options of a route that mean nothing; the text is a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """What one route's options ask for."""

    way: str  # one of WAYS
    header: bytes = b""  # for hash: whose value decides, in lower case
    balance: float = 0.0  # for hash: how far above the average an endpoint may be busy; 0: any


def spread_of(options: RouteOptions | None) -> Spread | None:
    """What *options* ask for; None for the router's own way.

    Raises:
      BadOptions: an unknown way, a hash without a header, or a balance that is none.
    """
    if options is None or not options.loadbalancing:
        return None
    if options.loadbalancing not in WAYS:
        raise BadOptions(f"There is no load balancing '{options.loadbalancing}'.")
    if options.loadbalancing != "hash":
        return Spread(way=options.loadbalancing)
    if not options.hash_header:
        raise BadOptions("Load balancing by hash needs a hash_header.")
    try:
        balance = float(options.hash_balance or 0)
    except ValueError:
        raise BadOptions(f"hash_balance '{options.hash_balance}' is not a number.") from None
    if balance and not (isfinite(balance) and balance >= 1):
        raise BadOptions("hash_balance must be 0, or at least 1.")
    header = options.hash_header.lower().encode("utf-8", "replace")
    return Spread(way="hash", header=header, balance=balance)


def by_hash(
    endpoints: Sequence[Endpoint],
    value: bytes,
    balance: float,
    now: float,
    tried: Collection[Endpoint] = (),
) -> Endpoint | None:
    """The endpoint that requests with this header *value* go to; None when none can be used.

    Every endpoint has a rank for each value, and the highest one that can be used is taken
    (rendezvous hashing): one that comes or goes moves the values that are its own and no
    others. With a *balance*, an endpoint that has more than that many times its share of the
    requests in flight is passed over.

    Source: Cloud Foundry RFC 0042, "Hash-based routing"; the bound is that of Mirrokni,
    Thorup, Zadimoghaddam, "Consistent hashing with bounded loads".
    """
    usable = [one for one in endpoints if one not in tried and one.failed_until <= now]
    if not usable:
        return None
    if balance:
        busy = sum(one.active for one in usable)
        most = ceil(balance * (busy + 1) / len(usable))
        usable = [one for one in usable if one.active < most]
    return max(usable, key=lambda one: _rank(value, one))


def _rank(value: bytes, endpoint: Endpoint) -> bytes:
    # The instance's id moves with it; whoever registers without one has only an address.
    name = endpoint.instance or str(endpoint)
    return blake2b(value, key=name.encode()[:64], digest_size=8).digest()
