"""A package cache whose index is a folder of wheels made here: no network is needed."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.config import PackageCacheConfig
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.clock import Clock
from appliance.kernel.http.client import Client, Response
from appliance.kernel.kit import Kit
from appliance.kernel.process.spawner import open_spawner
from appliance.kernel.trace import Event, Trace
from appliance.package_cache.service import serve


class JumpingClock(Clock):
    """Wall time that the test moves forward."""

    ahead = 0.0  # seconds

    def time(self) -> float:
        """Seconds since 1970, and what the test added."""
        return super().time() + self.ahead


def make_wheel(
    folder: Path, name: str, version: str, *, requires: Sequence[str] = (), text: str = ""
) -> Path:
    """A wheel with one module *name* that says its version."""
    info = f"{name}-{version}.dist-info"
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    lines += [f"Requires-Dist: {each}\n" for each in requires]
    path = folder / f"{name}-{version}-py3-none-any.whl"
    files = {
        f"{name}.py": text or f'VERSION = "{version}"\n',
        f"{info}/METADATA": "".join(lines),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(each, content)
    return path


@dataclass
class Cache:
    """A running package cache."""

    kit: Kit
    url: str
    root: Path
    clock: JumpingClock
    events: list[Event]

    async def put(self, path: str) -> Response:
        """``PUT /load/PATH``."""
        return await self.kit.http.request("PUT", f"{self.url}/load/{path}", timeout=60)

    async def get(self, path: str) -> Response:
        """``GET PATH``."""
        return await self.kit.http.request("GET", self.url + path)

    async def resolve(self, requirements: str, runtime: str = "python3") -> Response:
        """``POST /resolve/pip/RUNTIME``."""
        return await self.kit.http.request(
            "POST",
            f"{self.url}/resolve/pip/{runtime}",
            content=requirements.encode(),
            timeout=60,
        )

    def bring(self, file: Path, *, prefix: str = "") -> str:
        """Put *file* into the public inbox under its digest; the name."""
        sha1 = hashlib.sha1(file.read_bytes()).hexdigest()
        name = f"{prefix}{sha1}{''.join(file.suffixes[-1:])}"
        shutil.copyfile(file, self.root / "inbox" / "public" / name)
        return name

    def built(self) -> list[Any]:
        """The keys that were built, in order."""
        return [event.data["key"] for event in self.events if event.what == "package.built"]


@asynccontextmanager
async def running_cache(
    root: Path, *, sandbox: str = "auto", **settings: Any
) -> AsyncIterator[Cache]:
    """A package cache below *root*, stopped at the end."""
    events: list[Event] = []
    http, bus, clock = Client(), LocalBus(), JumpingClock()
    async with open_spawner(sandbox) as spawner:
        trace = Trace("package_cache", [events.append])
        kit = Kit(
            room="package_cache", bus=bus, http=http, spawner=spawner, trace=trace, clock=clock
        )
        config = PackageCacheConfig(bind="127.0.0.1:0", root=root, **settings)
        async with trio.open_nursery() as nursery:
            url = await nursery.start(partial(serve, config, kit))
            yield Cache(kit, url, root, clock, events)
            kit.stopping.set()
        await http.aclose()
        await bus.aclose()


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that sandboxed programs of another user can reach, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="package-cache-test-"))
    made.chmod(0o711)
    yield made / "cache"
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole index, in place of whatever is configured here."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder


@pytest.fixture
async def cache(root: Path, index: Path) -> AsyncIterator[Cache]:
    """A package cache that asks the folder *index*."""
    async with running_cache(root) as running:
        yield running
