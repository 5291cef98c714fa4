"""What archivers say to each other over HTTP, besides the droplets. Pure.

The paths and the meaning of their answers are those of 2012; the headers, the deletions
and the digests are ours, and an archiver of 2012 simply lacks them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from appliance.archiver.plan import Holding, Peer, check_name
from appliance.kernel.errors import BadRequest
from appliance.kernel.store.digest import Digest

SHA256_HEADER = "X-Content-Sha256"  # 64 hex digits; of the body
GENERATION_HEADER = "X-Droplet-Generation"  # see plan.Holding


class BadListing(BadRequest):
    """A peer's list of droplets cannot be read; nothing of it is used."""

    code = "bad-listing"


def headers(holding: Holding) -> dict[str, str]:
    """What goes with a droplet, and with the request to delete one."""
    named = {GENERATION_HEADER: str(holding.generation)}
    if holding.sha256:
        named[SHA256_HEADER] = holding.sha256
    return named


def has(headers: Mapping[str, str], holding: Holding) -> bool:
    """Whether a peer that answered HEAD with *headers* has *holding*, or a later one.

    An archiver of 2012 says neither digest nor generation, and is sent the droplet.
    """
    generation = headers.get(GENERATION_HEADER.lower(), "")
    return (
        headers.get(SHA256_HEADER.lower()) == holding.sha256
        and generation.isdecimal()
        and int(generation[:15]) >= holding.generation
    )


def read_sha256(headers: Mapping[str, str]) -> str:
    """The digest that the sender promises; "" when it does not."""
    value = headers.get(SHA256_HEADER.lower(), "")
    return Digest.sha256(value).hex if value else ""


def read_generation(headers: Mapping[str, str], *, stored: bool) -> int:
    """The sender's generation; 0 when it says none, as archivers of 2012 do."""
    value = headers.get(GENERATION_HEADER.lower(), "")
    if not value:
        return 0
    if not re.fullmatch(r"[0-9]{1,15}", value) or (int(value) % 2 == 1) != stored:
        raise BadRequest(f"{GENERATION_HEADER} cannot be {value[:40]!r} here.")
    return int(value)


def sync_url(peer: Peer, holding: Holding) -> str:
    """Where a replica, or its deletion, is sent; nothing is passed on from there."""
    return f"{peer.url}/sync/{holding.app_id}/{holding.sha1}"


def droplet_url(peer: Peer, holding: Holding) -> str:
    """Where a droplet is fetched."""
    return f"{peer.url}/droplets/{holding.app_id}/{holding.sha1}"


def present(holdings: Iterable[Holding]) -> dict[str, Any]:
    """The body of ``GET /digests/:prefix``."""
    return {"droplets": [msgspec.to_builtins(held) for held in holdings]}


class _Digests(msgspec.Struct):
    buckets: dict[str, str]


class _Droplets(msgspec.Struct):
    droplets: list[Holding]


def read_digests(body: bytes) -> dict[str, str]:
    """What ``GET /digests`` of a peer answered."""
    try:
        buckets = msgspec.json.decode(body, type=_Digests).buckets
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadListing(f"The peer's digests cannot be read: {error}.") from error
    for bucket in buckets:
        if not re.fullmatch(r"[0-9a-f]{2}", bucket):
            raise BadListing(f"The peer's digests have a bucket {bucket[:40]!r}.")
    return buckets


def read_bucket(body: bytes) -> list[Holding]:
    """What ``GET /digests/:prefix`` of a peer answered, every name in it checked."""
    try:
        listed = msgspec.json.decode(body, type=_Droplets).droplets
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadListing(f"The peer's droplets cannot be read: {error}.") from error
    for held in listed:
        check_name(*held.key)
        if held.sha256 or held.stored:
            Digest.sha256(held.sha256)
    return listed
