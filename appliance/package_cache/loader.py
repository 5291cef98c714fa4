"""Answers "have this package ready": from the cache, else built once, whoever asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from appliance.kernel.kit import Kit
from appliance.package_cache.builder import Build, Builder
from appliance.package_cache.errors import BadChoice
from appliance.package_cache.flights import Flights
from appliance.package_cache.folders import Folders
from appliance.package_cache.inbox import discard, import_file
from appliance.package_cache.keys import (
    InboxName,
    local_key,
    parse_local,
    parse_remote,
    remote_key,
)
from appliance.package_cache.resolver import Resolver
from appliance.package_cache.runtimes import Runtime, Runtimes
from appliance.package_cache.store import Store

LOCATIONS = ("local", "remote")
LANGUAGES = {"gem": "ruby", "pip": "python"}  # of the runtime, by package type

Make = Callable[[Build], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """All that a request needs."""

    kit: Kit
    folders: Folders
    store: Store
    runtimes: Runtimes
    builder: Builder
    resolver: Resolver
    flights: Flights
    max_package: int  # bytes

    async def load(self, location: str, kind: str, name: str, runtime: str) -> bool:
        """Have a package in the cache; True when it was built now, False when it was there.

        Raises:
          ApplianceError: a name is wrong, or the package cannot be had.
        """
        if location not in LOCATIONS:
            raise BadChoice("location", location, LOCATIONS)
        if kind not in LANGUAGES:
            raise BadChoice("package_type", kind, LANGUAGES)
        built_for = self.runtimes.get(runtime, LANGUAGES[kind])
        if location == "local":
            return await self._local(kind, parse_local(name), built_for)
        package = parse_remote(kind, name)
        build = self.builder.remote_gem if kind == "gem" else self.builder.remote_pip
        return await self._once(
            remote_key(package, runtime), lambda where: build(package, built_for, where)
        )

    async def _local(self, kind: str, name: InboxName, runtime: Runtime) -> bool:
        key = local_key(name.sha1, runtime.name)
        build = self.builder.local_gem if kind == "gem" else self.builder.local_pip

        async def make(where: Build) -> None:
            folders = self.folders
            source = await trio.to_thread.run_sync(
                partial(import_file, name, folders.public, folders.private, limit=self.max_package)
            )
            try:
                await build(source, runtime, where)
            finally:
                await trio.Path(source).unlink(missing_ok=True)

        built = await self._once(key, make)
        if not built:
            # What was there already need not be brought: the file must not stay behind.
            await trio.to_thread.run_sync(discard, name, self.folders.public)
        return built

    async def _once(self, key: str, make: Make) -> bool:
        if self.store.has(key):
            self.kit.trace.event("package.found", key=key)
            return False
        return await self.flights.join(key, lambda: self._build(key, make))

    async def _build(self, key: str, make: Make) -> None:
        sandbox = self.kit.spawner.sandbox
        started = trio.current_time()
        home = self.folders.builds / self.kit.ids.hex(16)
        build = Build(home)
        try:
            sandbox.make_root(home)
            await trio.Path(build.result).mkdir()
            await make(build)
            await trio.to_thread.run_sync(self.store.add, key, build.result)
        finally:
            with trio.CancelScope(shield=True):
                await sandbox.remove(home)
        milliseconds = round((trio.current_time() - started) * 1000, 1)
        self.kit.trace.event("package.built", key=key, ms=milliseconds)
