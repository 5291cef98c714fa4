"""Images on demand: each droplet is converted once, however many clients wait for it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

from appliance.kernel.kit import Kit
from appliance.kernel.trace import current_trace
from appliance.registry.controller import Controller, Droplet
from appliance.registry.image import VERSION, adopt, convert
from appliance.registry.manifest import Image, architecture_of, make_image
from appliance.registry.store import Made, Store

T = TypeVar("T")

CONVERSIONS = 2  # at the same time; each keeps one core busy


@dataclass
class _Flight:
    """A conversion under way, and how it ended."""

    landed: trio.Event = field(default_factory=trio.Event)
    made: Made | None = None
    failure: Exception | None = None


class Images:
    """Makes images of droplets, and remembers the layers.

    Args:
      background: Conversions run in it: a client that leaves takes nothing away from
        the others that wait for the same droplet.
    """

    def __init__(
        self,
        controller: Controller,
        store: Store,
        kit: Kit,
        background: trio.Nursery,
        *,
        rootfs: Path | None = None,
    ) -> None:
        self._controller = controller
        self._store = store
        self._kit = kit
        self._background = background
        self._rootfs = rootfs
        self._flights: dict[str, _Flight] = {}
        self._base: Made | None = None  # the root file system, once it has been read
        self._images: dict[str, Image] = {}  # by droplet guid
        self._limiter = trio.CapacityLimiter(CONVERSIONS)

    async def image(self, droplet: Droplet) -> Image:
        """The image of *droplet*; its blobs are in the store.

        Raises:
          NotAnImage: the droplet cannot be one.
          HttpFailed, BadAnswer: the droplet could not be fetched.
        """
        if (known := self._images.get(droplet.guid)) is not None:
            return known
        layers = []
        if self._rootfs is not None:
            base = self._base or await self._once("rootfs", self._read_rootfs)
            self._base = base
            layers.append((base.layer, f"root file system {self._rootfs.name}"))
        key = f"{droplet.sha256 or droplet.guid}-v{VERSION}"
        made = await self._on_disk(lambda: self._store.made(key))
        if made is None:
            made = await self._once(key, lambda: self._convert(droplet, key))
        layers.append((made.layer, f"droplet {droplet.guid} at /home/vcap"))
        image = make_image(
            layers,
            command=made.command or droplet.command,
            created=droplet.created_at,
            architecture=architecture_of(os.uname().machine),
        )
        await self._on_disk(lambda: self._store.keep_image(image))
        self._images[droplet.guid] = image
        return image

    async def _once(self, key: str, make: Callable[[], Awaitable[Made]]) -> Made:
        """What *make* makes; those who ask while it is under way wait for the same."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            self._background.start_soon(self._fly, key, flight, make, current_trace.get())
        await flight.landed.wait()
        if flight.failure is not None:
            raise flight.failure
        assert flight.made is not None
        return flight.made

    async def _fly(
        self, key: str, flight: _Flight, make: Callable[[], Awaitable[Made]], trace: str
    ) -> None:
        current_trace.set(trace)
        try:
            flight.made = await make()
        except Exception as error:  # whoever waits raises it, in the guard of its request
            flight.failure = error
        finally:
            del self._flights[key]
            flight.landed.set()

    async def _convert(self, droplet: Droplet, key: str) -> Made:
        began = trio.current_time()
        # The download is only an input: nothing is lost with it.
        source = await self._controller.download(droplet, self._store.spool, fsync=False)

        def work() -> Made:
            converted = convert(source.path, self._store.spool, fsync=self._store.fsync)
            self._store.keep(converted.file.path, converted.layer)
            made = Made(converted.layer, converted.command)
            self._store.note(key, made)
            return made

        try:
            made = await trio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            source.path.unlink(missing_ok=True)
        self._kit.trace.event(
            "droplet.converted",
            droplet=droplet.guid,
            bytes=source.size,
            layer=made.layer.digest,
            layer_bytes=made.layer.size,
            ms=round((trio.current_time() - began) * 1000, 1),
        )
        return made

    async def _read_rootfs(self) -> Made:
        rootfs = self._rootfs
        assert rootfs is not None

        def work() -> Made:
            spooled, layer = adopt(rootfs, self._store.spool, fsync=self._store.fsync)
            self._store.keep(spooled.path, layer)
            return Made(layer, "")

        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work)
