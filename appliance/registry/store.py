"""What the registry keeps: blobs by digest, and which layer a droplet became."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import trio

from appliance.kernel.process.folders import private_folder
from appliance.kernel.store.blobs import BlobStore
from appliance.registry.manifest import Image, Layer


@dataclass(frozen=True, slots=True)
class Made:
    """A conversion that is done."""

    layer: Layer
    command: str  # the droplet's start command; "" when it has none


class Store:
    """Blobs, and one small file per conversion. The methods block."""

    def __init__(self, root: Path, *, fsync: bool) -> None:
        self.fsync = fsync
        self._blobs = BlobStore(root, fsync=fsync)
        self._blobs.sweep()
        self._made = root / "made"
        self._manifests = root / "manifests"
        for folder in (self._made, self._manifests):
            folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def spool(self) -> Path:
        """A folder for files on their way in."""
        return self._blobs.spool

    def path(self, digest: str) -> Path | None:
        """The file with *digest* (checked, ``sha256:…``), or None."""
        path = self._blobs.path(digest.removeprefix("sha256:"))
        return path if path.is_file() else None

    def keep(self, spooled: Path, layer: Layer) -> None:
        """Make *spooled* the blob of *layer*; it has been fsynced when that is wanted."""
        self._blobs.commit(spooled, layer.digest.removeprefix("sha256:"), flushed=True)

    def keep_image(self, image: Image) -> None:
        """Store config and manifest, so that they are served by digest after a restart too."""
        if self.path(image.config_digest) is None:
            spooled = self._spooled(image.config)
            self._blobs.commit(spooled, image.config_digest.removeprefix("sha256:"))
        # Apart from the blobs: a layer's digest must not get a layer as a manifest.
        os.replace(self._spooled(image.manifest), self._manifests / image.digest)

    def manifest(self, digest: str) -> bytes | None:
        """The manifest with *digest* (checked, ``sha256:…``), or None."""
        try:
            return (self._manifests / digest).read_bytes()
        except FileNotFoundError:
            return None

    def made(self, key: str) -> Made | None:
        """The conversion noted under *key*, when its layer is still there."""
        try:
            noted = json.loads((self._made / f"{key}.json").read_bytes())
            made = Made(Layer(**noted["layer"]), noted["command"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # a note that cannot be read is as good as none: it is made again
        return made if self.path(made.layer.digest) else None

    def note(self, key: str, made: Made) -> None:
        """Remember a conversion whose layer has been kept."""
        data = json.dumps({"layer": asdict(made.layer), "command": made.command}).encode()
        os.replace(self._spooled(data), self._made / f"{key}.json")

    def _spooled(self, data: bytes) -> Path:
        fd, name = tempfile.mkstemp(dir=self.spool)
        with open(fd, "wb") as file:
            file.write(data)
        return Path(name)


@asynccontextmanager
async def open_store(root: Path | None) -> AsyncIterator[Store]:
    """The store in *root*; None keeps it in a temporary folder that is removed at the end."""
    if root is not None:
        yield await trio.to_thread.run_sync(lambda: Store(root, fsync=True))
        return
    async with private_folder("registry") as folder:
        yield Store(folder, fsync=False)
