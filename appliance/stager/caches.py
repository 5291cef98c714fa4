"""Each app's build cache: kept between its pushes, used by one task at a time."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.kernel.process.sandbox import Sandbox
from appliance.kernel.process.usage import disk_usage

KEPT = 20  # apps whose cache is kept; those staged longest ago go first


@dataclass
class Caches:
    """The build caches below *root*: a folder per app, and in it one per buildpack."""

    root: Path
    sandbox: Sandbox
    most: int  # bytes that one app's cache may occupy between its builds
    _locks: dict[str, trio.Lock] = field(default_factory=dict)

    @asynccontextmanager
    async def of(self, app_id: str) -> AsyncIterator[AppCache]:
        """The cache of *app_id*; another task of the same app waits until it is free."""
        name = _name(app_id)
        async with self._alone(name):
            folder = self.root / name
            self.sandbox.make_root(folder)
            # Moves it to the end of those that may go.
            folder.touch()
            yield AppCache(folder, self.sandbox)

    async def keep_what_fits(self, cache: AppCache) -> int | None:
        """Drop what the build has not used; bytes kept, None when it was too much for that."""
        for folder in list(cache.folder.iterdir()):
            if folder.name not in cache.used:
                await self.sandbox.remove(folder)
        size = await trio.to_thread.run_sync(disk_usage, cache.folder)
        if size <= self.most:
            return size
        for folder in list(cache.folder.iterdir()):
            await self.sandbox.remove(folder)
        return None

    async def clear(self, app_id: str | None) -> None:
        """Forget the cache of one app, or of all; a build that uses it ends first."""
        names = [path.name for path in self.root.iterdir()] if app_id is None else [_name(app_id)]
        for name in names:
            async with self._alone(name):
                await self.sandbox.remove(self.root / name)

    async def prune(self) -> None:
        """Remove the caches of all but the `KEPT` apps that were staged last."""
        folders = sorted(self.root.iterdir(), key=lambda path: -path.stat().st_mtime)
        for folder in folders[KEPT:]:
            if folder.name not in self._locks:
                await self.sandbox.remove(folder)

    @asynccontextmanager
    async def _alone(self, name: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(name, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().owner and not lock.statistics().tasks_waiting:
                self._locks.pop(name, None)


@dataclass
class AppCache:
    """One app's cache while it is built. The folder is ours; those in it are the sandbox's."""

    folder: Path
    sandbox: Sandbox
    used: set[str] = field(default_factory=set)

    async def of(self, buildpack: str) -> Path:
        """The folder in which *buildpack*, by its name, keeps what it likes for next time."""
        folder = self.folder / _name(buildpack)
        self.used.add(folder.name)
        if not folder.is_dir():
            folder.mkdir()
            await self.sandbox.hand_over(folder)
        return folder


def _name(given: str) -> str:
    return hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:32]
