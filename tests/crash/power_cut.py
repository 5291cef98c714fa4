"""Copies an archiver's disk while it works, and looks at what power cuts would have left.

An ext4 image lies in an xfs file system that can copy a file in one atomic step. The
archiver works in the one; the copies are what a power cut at that moment leaves. It sees
everything that has not reached the block layer; it does not reorder a volatile disk cache.

``unshare --mount python -m tests.crash.power_cut FOLDER CUTS [WITHOUT…]`` prints figures as
JSON. The mount namespace of its own keeps sandboxes that start meanwhile from holding on to
the mounts, and ends with them whatever happens.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from appliance.archiver.errors import DropletLost, NoSuchDroplet
from appliance.archiver.plan import Key
from appliance.archiver.store import DropletStore, open_store
from appliance.kernel.clock import Clock
from appliance.kernel.http.client import Client
from tests.crash.processes import Acknowledged, Users, free_port, process

USERS = 4
PAUSE = 0.2  # seconds between two power cuts
PEER = 9  # a port where nobody listens: everything stays owed
CANNOT = 77  # exit code: loop mounts do not work here


def call(*command: str | Path) -> None:
    """Run a tool of the system."""
    subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=60)


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """*image*, mounted at *folder*."""
    folder.mkdir(exist_ok=True)
    call("mount", "-o", "loop", image, folder)
    try:
        yield folder
    finally:
        call("umount", folder)


@contextmanager
def machine(folder: Path) -> Iterator[Path]:
    """A file system that copies ``disk.img`` in one step; skips where it cannot be made."""
    outer, inside = folder / "outer.img", folder / "machine"
    inside.mkdir()
    with outer.open("wb") as file:
        file.truncate(8 * 1024**3)  # a sparse file: what is not written takes no room
    try:
        call("mkfs.xfs", "-q", "-m", "reflink=1", outer)
        call("mount", "-o", "loop", outer, inside)
    except subprocess.CalledProcessError as error:
        print(f"loop mounts do not work here: {error.stderr.decode().strip()}")
        sys.exit(CANNOT)
    try:
        disk = inside / "disk.img"
        with disk.open("wb") as file:
            file.truncate(768 * 1024**2)
        call("mkfs.ext4", "-q", "-F", disk)
        yield inside
    finally:
        call("umount", inside)
        outer.unlink()


@dataclass
class Cut:
    """What a power cut left, and what had been acknowledged before it."""

    image: Path
    acknowledged: list[Acknowledged]


@dataclass
class Figures:
    """What all power cuts together have shown."""

    cuts: int = 0
    checked: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    cuts_with_loss: int = 0

    def __str__(self) -> str:
        losses = ", ".join(f"{count:,} {what}" for what, count in sorted(self.losses.items()))
        return (
            f"{self.cuts} power cuts, {self.checked:,} acknowledgements checked, "
            f"{losses or '0 lost'}, {self.cuts_with_loss} cuts with a loss"
        )


async def cut_often(inside: Path, cuts: int, *without: str) -> list[Cut]:
    """Let users store, and take *cuts* copies of the disk meanwhile."""
    taken: list[Cut] = []
    client = Client()
    users = Users(2, client)
    with mounted(inside / "disk.img", inside / "disk"):
        async with process(inside / "disk" / "archiver", free_port(), PEER, *without) as node:
            await node.start()
            async with trio.open_nursery() as nursery:
                for number in range(USERS):
                    nursery.start_soon(users.store, [node.url], number)
                for number in range(cuts):
                    await trio.sleep(PAUSE)
                    before = list(users.acknowledged)
                    image = inside / f"cut-{number}.img"
                    await trio.run_process(
                        ["cp", "--reflink=always", str(inside / "disk.img"), str(image)]
                    )
                    taken.append(Cut(image, before))
                nursery.cancel_scope.cancel()
            await node.kill()
    await client.aclose()
    return taken


@asynccontextmanager
async def reopened(cut: Cut, folder: Path) -> AsyncIterator[DropletStore]:
    """The archiver's store as the next start finds it; the journal is replayed by mounting."""
    with mounted(cut.image, folder):
        async with open_store(folder / "archiver", Clock()) as store:
            await store.recover()
            yield store


async def look(cuts: list[Cut], folder: Path) -> Figures:
    """Compare each copy with what had been acknowledged before it was taken."""
    figures = Figures()
    for cut in cuts:
        losses: Counter[str] = Counter()
        async with reopened(cut, folder) as store:
            owed = {
                row.holding.key
                for row in await store.outbox.due(
                    f"127.0.0.1:{PEER}", now=4e9, horizon=60, limit=10**6
                )
            }
            for droplet in cut.acknowledged:
                key: Key = (droplet.app, droplet.sha1)
                try:
                    await store.check(await store.find(key))
                except NoSuchDroplet:
                    losses["rows lost"] += 1
                except DropletLost:
                    losses["files lost or damaged"] += 1
                if key not in owed:
                    losses["outbox rows lost"] += 1
        cut.image.unlink()
        figures.cuts += 1
        figures.checked += len(cut.acknowledged)
        figures.losses.update(losses)
        figures.cuts_with_loss += bool(losses)
    return figures


async def loop(folder: Path, cuts: int, *without: str) -> Figures:
    """Cut and look."""
    with machine(folder) as inside:
        taken = await cut_often(inside, cuts, *without)
        return await look(taken, folder / "cut")


def main() -> None:
    """Print what was found."""
    folder, cuts, *without = sys.argv[1:]
    print(json.dumps(vars(trio.run(loop, Path(folder), int(cuts), *without))))


if __name__ == "__main__":
    main()
