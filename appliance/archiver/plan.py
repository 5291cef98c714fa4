"""Which peer lacks what, and when to try again. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from appliance.archiver.errors import BadDropletName
from appliance.kernel.errors import ConfigError

BUCKET_DIGITS = 2  # of the SHA-1 that name a bucket: 256 buckets

_APP_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA1 = re.compile(r"[0-9a-f]{40}")

Key = tuple[str, str]  # app id, SHA-1


@dataclass(frozen=True, slots=True)
class Holding:
    """One droplet on one archiver, or the memory that it was deleted.

    *generation* counts how often it was stored and deleted: odd numbers are droplets,
    even ones are deletions, and between two archivers the higher one is right. So a
    replica that comes late never brings back what was deleted since.
    """

    app_id: str
    sha1: str
    sha256: str
    size: int  # bytes
    generation: int

    @property
    def stored(self) -> bool:
        """Whether this is a droplet, and not the memory of a deleted one."""
        return self.generation % 2 == 1

    @property
    def key(self) -> Key:
        """What clients know it by."""
        return self.app_id, self.sha1

    @property
    def bucket(self) -> str:
        """The bucket that it is compared in."""
        return self.sha1[:BUCKET_DIGITS]


@dataclass(frozen=True, slots=True)
class Peer:
    """Another archiver. *name* has no credentials and is what traces and the outbox say."""

    name: str
    url: str


def check_name(app_id: str, sha1: str) -> Key:
    """Both, when they can name a droplet: no path, no upper-case digits, no final newline.

    Raises:
      BadDropletName: they cannot.
    """
    if not _APP_ID.fullmatch(app_id):
        rule = "1 to 128 letters, digits, dots, dashes and underscores, a letter or digit first"
        raise BadDropletName(f"{app_id[:200]!r} cannot be an app id: {rule}.")
    if not _SHA1.fullmatch(sha1):
        raise BadDropletName(f"{sha1[:200]!r} is no SHA-1: 40 digits of 0-9a-f are.")
    return app_id, sha1


def make_peer(url: str, user: str, password: str) -> Peer:
    """The peer at *url*; its credentials are those in *url*, else ours: peers share them."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise ConfigError("archiver.peers", _redacted(url), "must look like http://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = (f"{host}:{port}" if port else host) + parts.path.rstrip("/")
    credentials = parts.netloc.rpartition("@")[0] or f"{quote(user, '')}:{quote(password, '')}"
    return Peer(name=place, url=f"{parts.scheme}://{credentials}@{place}")


def next_generation(current: int, *, stored: bool) -> int:
    """The generation after *current* (0: never heard of) in which it is *stored*, or deleted."""
    return current + (1 if (current % 2 == 1) != stored else 0)


def digest_bucket(holdings: Iterable[Holding]) -> str:
    """One digest over what a bucket has; equal on two archivers that agree about it."""
    digest = hashlib.sha256()
    for held in sorted(holdings, key=lambda held: (held.sha1, held.app_id)):
        digest.update(f"{held.sha1} {held.app_id} {held.generation} {held.sha256}\n".encode())
    return digest.hexdigest()


def differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """The buckets, in order, in which *theirs* may have something that we lack."""
    return sorted(bucket for bucket, digest in theirs.items() if ours.get(bucket) != digest)


def lacking(ours: Iterable[Holding], theirs: Iterable[Holding]) -> list[Holding]:
    """What a peer knows better than we do: droplets to fetch, and deletions to repeat.

    Another content under the same name and generation is left out: neither is right.
    """
    known = {held.key: held.generation for held in ours}
    return [held for held in theirs if held.generation > known.get(held.key, 0)]


def delay(tries: int, first: float, most: float, luck: float) -> float:
    """Seconds to wait after *tries* failures in a row: doubled each time, up to *most*.

    Args:
      luck: From 0 to 1; spreads the waits over their upper half, so that archivers
        which failed together do not come back together.
    """
    longest = min(most, first * 2.0 ** min(tries - 1, 60))
    return longest * (0.5 + 0.5 * luck)


def _redacted(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)
