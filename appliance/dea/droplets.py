"""Droplets on this machine's disk: fetched once, checked, kept for the next start."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.dea.errors import DropletUnavailable
from appliance.dea.messages import Start
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.receive import Spooled
from appliance.kernel.kit import Kit
from appliance.kernel.store.digest import BadDigest, Digest, DigestMismatch

MAX_DROPLET = 1536 * 1024 * 1024  # bytes
KEEP = 4 * 1024 * 1024 * 1024  # bytes of droplets that nobody uses at the moment
FETCH_SECONDS = 600.0  # for one droplet from one source
PIECE = 1024 * 1024  # bytes


@dataclass(eq=False)
class Cached:
    """A droplet that is here, whole and checked."""

    file: Spooled
    users: int = 0


@dataclass(eq=False)
class Fetch:
    """A droplet on its way; whoever else wants it waits for `done`."""

    done: trio.Event = field(default_factory=trio.Event)
    failed: str = ""


class DropletCache:
    """Keeps droplets by SHA-1 in *folder*, which must be empty, and fetches what is missing.

    *copy* says whether a path in an order is looked at before its addresses.
    """

    def __init__(self, kit: Kit, folder: Path, *, keep: int = KEEP, copy: bool = True) -> None:
        self._kit = kit
        self._folder = folder
        self._keep = keep
        self._copy = copy
        self._cached: dict[str, Cached] = {}  # by SHA-1, the one used last at the end
        self._fetches: dict[str, Fetch] = {}

    @asynccontextmanager
    async def droplet(self, order: Start) -> AsyncIterator[Path]:
        """The file of the droplet that *order* names, which stays while the block runs.

        Raises:
          DropletUnavailable: the order has no usable digest, or no source gave these bytes.
        """
        cached = await self._get(order)
        cached.users += 1
        try:
            yield cached.file.path
        finally:
            cached.users -= 1
            self._make_room()

    async def _get(self, order: Start) -> Cached:
        try:
            sha1 = Digest.sha1(order.sha1)
            sha256 = Digest.sha256(order.sha256) if order.sha256 else None
        except BadDigest as error:
            raise DropletUnavailable(str(error)) from error
        while True:
            if cached := self._cached.pop(sha1.hex, None):
                self._cached[sha1.hex] = cached
                # Another file may have the same SHA-1, made so on purpose.
                if sha256:
                    _check(sha256, cached.file.sha256)
                return cached
            if running := self._fetches.get(sha1.hex):
                await running.done.wait()
                if running.failed:
                    raise DropletUnavailable(running.failed)
                continue  # it is here now, or the one who fetched it was stopped
            fetch = self._fetches[sha1.hex] = Fetch()
            try:
                self._cached[sha1.hex] = Cached(await self._fetch(order, sha1, sha256))
            except DropletUnavailable as error:
                fetch.failed = str(error).removeprefix(str(DropletUnavailable("")))
                raise
            finally:
                del self._fetches[sha1.hex]
                fetch.done.set()

    async def _fetch(self, order: Start, sha1: Digest, sha256: Digest | None) -> Spooled:
        """The droplet from the first source that has these bytes."""
        reasons: list[str] = []
        if self._copy and order.executableFile:
            source = Path(order.executableFile)
            try:
                copied = await trio.to_thread.run_sync(_copy, source, self._folder, sha1, sha256)
            except OSError as error:
                reasons.append(f"{source} could not be copied: {error.strerror or error}")
            else:
                if copied:
                    return copied
        for uri in dict.fromkeys((order.executableUri, *order.executableUris)):
            if not uri:
                continue
            try:
                return await self._download(uri, sha1, sha256)
            except (ApplianceError, OSError) as error:
                reasons.append(str(error).removesuffix("."))
                self._kit.trace.event("droplet.unavailable", sha1=sha1.hex, why=reasons[-1])
        raise DropletUnavailable("; ".join(reasons) or "the order names no source")

    async def _download(self, uri: str, sha1: Digest, sha256: Digest | None) -> Spooled:
        spooled = await self._kit.http.download(
            uri, self._folder, limit=MAX_DROPLET, timeout=FETCH_SECONDS
        )
        try:
            sha1.check(spooled.sha1)
            if sha256:
                sha256.check(spooled.sha256)
        except DigestMismatch:
            spooled.path.unlink(missing_ok=True)
            raise
        self._kit.trace.event("droplet.fetched", sha1=sha1.hex, bytes=spooled.size)
        return spooled

    def _make_room(self) -> None:
        """Remove what was not used for longest, until the rest is not too much."""
        idle = [(sha1, one) for sha1, one in self._cached.items() if not one.users]
        size = sum(one.file.size for _, one in idle)
        for sha1, one in idle:
            if size <= self._keep:
                return
            del self._cached[sha1]
            one.file.path.unlink(missing_ok=True)
            size -= one.file.size


def _check(wanted: Digest, actual: str) -> None:
    try:
        wanted.check(actual)
    except DigestMismatch as error:
        raise DropletUnavailable(str(error).removesuffix(".")) from error


def _copy(source: Path, folder: Path, sha1: Digest, sha256: Digest | None) -> Spooled | None:
    """A copy of *source*, if it is a file with these digests; for a worker thread."""
    digests = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    try:
        # Never waits for the writer of a pipe that happens to have this name.
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # no such file, or no name that a file could have
        return None
    with open(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_DROPLET:
            return None
        made, name = tempfile.mkstemp(dir=folder)
        path = Path(name)
        try:
            with open(made, "wb", buffering=0) as copy:
                while piece := file.read(PIECE):
                    trio.from_thread.check_cancelled()
                    for digest in digests:
                        digest.update(piece)
                    copy.write(piece)
            found = [digest.hexdigest() for digest in digests]
            if found[0] == sha1.hex and (sha256 is None or found[1] == sha256.hex):
                return Spooled(path, path.stat().st_size, *found)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        path.unlink()
        return None
