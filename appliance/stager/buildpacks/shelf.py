"""Downloaded buildpacks, unpacked once each and kept by digest for the builds of all apps."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import trio

from appliance.kernel.errors import ApplianceError
from appliance.kernel.kit import Kit
from appliance.kernel.process.archive import ArchiveLimits, unpack_zip
from appliance.kernel.redact import redact
from appliance.stager.buildpacks.classic import ClassicBuildpack, open_buildpack
from appliance.stager.buildpacks.git import clone
from appliance.stager.errors import BuildpackUnavailable
from appliance.stager.log import TaskLog
from appliance.stager.messages import BuildpackToTry

KEPT = 10  # buildpacks; those used longest ago go first
LIMITS = ArchiveLimits(entries=200_000)  # those with all their dependencies are large


@dataclass
class Shelf:
    """The buildpacks below *root*. Nobody but us may write there: all apps are built with them."""

    root: Path
    kit: Kit
    most: int  # bytes of one zip
    limiter: trio.CapacityLimiter
    _borrowed: Counter[str] = field(default_factory=Counter)
    _locks: dict[str, trio.Lock] = field(default_factory=dict)
    _used: dict[str, int] = field(default_factory=dict)  # digest: when, in uses
    _uses: int = 0
    _changing: trio.Lock = field(default_factory=trio.Lock)  # while one comes or goes

    @asynccontextmanager
    async def borrow(
        self, wanted: BuildpackToTry, scratch: Path, log: TaskLog
    ) -> AsyncIterator[ClassicBuildpack]:
        """The buildpack that *wanted* describes; it stays where it is while the context is open.

        A git repository is cloned into *scratch*, since its branch may move.

        Raises:
          BuildpackUnavailable: it cannot be had, or is no buildpack.
        """
        name = redact(wanted.name)
        log.info(f"Downloading {name}...")
        url = wanted.url or wanted.name
        if wanted.url is None and not urlsplit(url).path.lower().endswith(".zip"):
            folder = await clone(wanted.name, scratch, self.kit, log)
            await trio.to_thread.run_sync(_open_to_readers, folder, limiter=self.limiter)
            log.info(f"Downloaded {name}")
            yield open_buildpack(name, folder)
            return
        digest = await self._bring(name, url, wanted.sha256, log)
        self._borrowed[digest] += 1
        try:
            yield open_buildpack(name, self.root / digest)
        finally:
            self._borrowed[digest] -= 1
            self._uses += 1
            self._used[digest] = self._uses

    async def prune(self) -> None:
        """Remove all but the `KEPT` that were used last; none that is in use."""
        async with self._changing:
            newest = sorted(self._used, key=lambda digest: -self._used[digest])
            for digest in newest[KEPT:]:
                if not self._borrowed[digest]:
                    del self._used[digest]
                    await self.kit.spawner.sandbox.remove(self.root / digest)

    async def _bring(self, name: str, url: str, sha256: str | None, log: TaskLog) -> str:
        """Have the zip at *url* unpacked in `root`, and return its digest."""
        key = sha256 or url
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                if sha256 and sha256 in self._used:
                    log.info(f"Downloaded {name} (cached)")
                    return sha256
                return await self._download(name, url, sha256, log)
        finally:
            if not lock.statistics().owner and not lock.statistics().tasks_waiting:
                self._locks.pop(key, None)

    async def _download(self, name: str, url: str, sha256: str | None, log: TaskLog) -> str:
        try:
            zipped = await self.kit.http.download(url, self.root, limit=self.most)
        except ApplianceError as error:
            raise BuildpackUnavailable(name, str(error), hint=error.hint) from error
        try:
            if sha256 and zipped.sha256 != sha256:
                raise BuildpackUnavailable(
                    name, "what was downloaded is not what was uploaded: its digest differs."
                )
            log.info(f"Downloaded {name} ({size_text(zipped.size)})")
            async with self._changing:
                if zipped.sha256 not in self._used:
                    await self._unpack(name, zipped.path, self.root / zipped.sha256)
                    self._used[zipped.sha256] = self._uses
            return zipped.sha256
        finally:
            zipped.path.unlink(missing_ok=True)

    async def _unpack(self, name: str, zipped: Path, folder: Path) -> None:
        new = folder.with_name(f"new-{self.kit.ids.hex()}")

        def unpack() -> None:
            new.mkdir()
            unpack_zip(zipped, new, LIMITS)
            _open_to_readers(new)
            os.rename(new, folder)

        try:
            await trio.to_thread.run_sync(unpack, limiter=self.limiter)
        except ApplianceError as error:
            raise BuildpackUnavailable(name, str(error), hint=error.hint) from error
        finally:
            with trio.CancelScope(shield=True):
                await self.kit.spawner.sandbox.remove(new)


def size_text(size: int) -> str:
    """*size* bytes as Cloud Foundry's logs write it: ``12.3K``."""
    for power, unit in ((3, "G"), (2, "M"), (1, "K")):
        if size >= 1024**power:
            return f"{size / 1024**power:.1f}".removesuffix(".0") + unit
    return f"{size}B"


def _open_to_readers(top: Path) -> None:
    """Let everybody read all of it, and run the scripts in ``bin``: some tools forget modes."""
    for folder, _, files in os.walk(top):
        os.chmod(folder, 0o755)
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                runs = os.stat(path).st_mode & 0o111 or os.path.basename(folder) == "bin"
                os.chmod(path, 0o755 if runs else 0o644)
