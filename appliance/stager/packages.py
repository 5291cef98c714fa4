"""Gets Python packages from the package cache, prebuilt, and puts them into a droplet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trio

from appliance.kernel.errors import ApplianceError, NotFound
from appliance.kernel.http.client import Client, Response
from appliance.kernel.http.errors import BadAnswer
from appliance.kernel.process.archive import DROPLET_LIMITS, unpack_tar
from appliance.stager.errors import PackagesUnavailable
from appliance.stager.log import TaskLog

SIDE_BY_SIDE = 8  # packages that are fetched at once
RESOLVE = 120.0  # seconds
LOAD = 600.0  # seconds, for a package that must be built first
LARGEST = 1024 * 1024 * 1024  # bytes of one package

NO_CACHE = (
    "Push wheels with the app (`pip wheel -r requirements.txt -w vendor`), or start the appliance "
    "with its package cache."
)


class PackageSource:
    """The package cache at *url*, for one runtime."""

    def __init__(self, http: Client, url: str, runtime: str, log: TaskLog) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._runtime = runtime
        self._log = log

    async def install(
        self, requirements: str, into: Path, scratch: Path, limiter: trio.CapacityLimiter
    ) -> None:
        """Resolve *requirements* and unpack every package into the folder *into*.

        Raises:
          PackagesUnavailable: the cache does not answer, or cannot provide a package.
        """
        try:
            pins = await self._resolve(requirements)
            noun = "package" if len(pins) == 1 else "packages"
            self._log.info(f"Installing {len(pins)} {noun} from the package cache")
            await self._bring_all(pins, scratch, limiter)
        except PackagesUnavailable:
            raise
        except ApplianceError as error:
            raise PackagesUnavailable(str(error), hint=error.hint or NO_CACHE) from error
        folders = [scratch / pin["key"].removesuffix(".tgz") for pin in pins]
        await trio.to_thread.run_sync(_merge_all, folders, into, limiter=limiter)
        for pin in pins:
            self._log.info(f"  {pin['name']} {pin['version']}")

    async def _bring_all(
        self, pins: list[dict[str, str]], scratch: Path, limiter: trio.CapacityLimiter
    ) -> None:
        """Fetch and unpack every package into a folder of its own; the first error ends it."""
        room = trio.CapacityLimiter(SIDE_BY_SIDE)
        failed: list[ApplianceError] = []

        async def bring(pin: dict[str, str]) -> None:
            async with room:
                try:
                    archive = await self._fetch(pin, scratch)
                    folder = scratch / pin["key"].removesuffix(".tgz")
                    await trio.to_thread.run_sync(_unpack, archive, folder, limiter=limiter)
                except ApplianceError as error:
                    failed.append(error)
                    fetching.cancel_scope.cancel()

        async with trio.open_nursery() as fetching:
            for pin in pins:
                fetching.start_soon(bring, pin)
        if failed:
            raise failed[0]

    async def _resolve(self, requirements: str) -> list[dict[str, str]]:
        answer = await self._http.request(
            "POST",
            f"{self._url}/resolve/pip/{self._runtime}",
            content=requirements.encode(),
            headers={"Content-Type": "text/plain; charset=utf-8"},
            timeout=RESOLVE,
        )
        self._check(answer)
        body: dict[str, Any] = answer.json()
        if note := body.get("note"):
            self._log.info(str(note))
        pins: list[dict[str, str]] = body["pins"]
        for pin in pins:
            if "/" in pin["key"] or not pin["key"].endswith(".tgz"):
                raise BadAnswer(f"The package cache named a package {pin['key']!r}.", 502)
        return pins

    async def _fetch(self, pin: dict[str, str], scratch: Path) -> Path:
        url = f"{self._url}/packages/{pin['key']}"
        try:
            return (await self._http.download(url, scratch, limit=LARGEST)).path
        except (BadAnswer, NotFound) as error:
            if error.status != 404:
                raise
        named = f"{pin['name']}-{pin['version']}"
        self._log.info(f"Building {pin['name']} {pin['version']} for the package cache")
        self._check(
            await self._http.request(
                "PUT", f"{self._url}/load/remote/pip/{named}/{self._runtime}", timeout=LOAD
            )
        )
        return (await self._http.download(url, scratch, limit=LARGEST)).path

    def _check(self, answer: Response) -> None:
        if answer.ok:
            return
        try:
            body = answer.json()
        except BadAnswer:
            body = answer.text
        if isinstance(body, dict):
            raise PackagesUnavailable(
                str(body.get("description", body)), hint=str(body.get("hint", "")) or NO_CACHE
            )
        raise PackagesUnavailable(str(body), hint=NO_CACHE)


def _unpack(archive: Path, folder: Path) -> None:
    unpack_tar(archive, folder, DROPLET_LIMITS)
    archive.unlink()


def _merge_all(folders: list[Path], into: Path) -> None:
    into.mkdir(exist_ok=True)
    for folder in folders:
        merge(folder, into)


def merge(source: Path, target: Path) -> None:
    """Move everything in *source* into *target*; a file that is there already is replaced.

    Both are of our own making: whole packages with a name of their own are moved by one rename.
    """
    for entry in os.scandir(source):
        place = target / entry.name
        if entry.is_dir(follow_symlinks=False) and place.is_dir():
            merge(Path(entry.path), place)
        else:
            os.replace(entry.path, place)
