"""Each app's build cache: kept between its pushes, used by one task at a time."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.kernel.process.sandbox import Sandbox

KEPT = 20  # apps whose cache is kept; those staged longest ago go first


@dataclass
class Caches:
    """The build caches below *root*, one folder per app."""

    root: Path
    sandbox: Sandbox
    _locks: dict[str, trio.Lock] = field(default_factory=dict)

    @asynccontextmanager
    async def of(self, app_id: str) -> AsyncIterator[Path]:
        """The cache of *app_id*; another task of the same app waits until it is free."""
        name = hashlib.sha256(app_id.encode()).hexdigest()[:32]
        lock = self._locks.setdefault(name, trio.Lock())
        try:
            async with lock:
                folder = self.root / name
                if not folder.is_dir():
                    folder.mkdir(parents=True)
                    await self.sandbox.hand_over(folder)
                # Moves it to the end of those that may go.
                folder.touch()
                yield folder
        finally:
            if not lock.statistics().owner and not lock.statistics().tasks_waiting:
                self._locks.pop(name, None)

    async def prune(self) -> None:
        """Remove the caches of all but the `KEPT` apps that were staged last."""
        folders = sorted(self.root.iterdir(), key=lambda path: -path.stat().st_mtime)
        for folder in folders[KEPT:]:
            if folder.name not in self._locks:
                await self.sandbox.remove(folder)
