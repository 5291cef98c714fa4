"""How long a start takes on a state folder with 10,000 droplets, after a SIGKILL."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from pathlib import Path

import apsw
import trio

from appliance.kernel.clock import Clock, Ids
from appliance.kernel.store.blobs import BlobStore
from benchmarks.appliance_process import up
from benchmarks.table import median, table
from fake_controller.model import Droplet
from fake_controller.store import Tx, open_store

DROPLETS = 10_000
ROUNDS = 5


async def fill(state: Path) -> None:
    """Put the droplets into the controller's records and into both archivers."""
    contents = [f"droplet {number}".encode() for number in range(DROPLETS)]
    digests = [
        (hashlib.sha1(one).hexdigest(), hashlib.sha256(one).hexdigest(), one) for one in contents
    ]

    def record(tx: Tx) -> None:
        for sha1, sha256, one in digests:
            tx.new(Droplet, app_guid="an-app", state="STAGED", sha1=sha1, sha256=sha256,
                   size=len(one))  # fmt: skip

    async with open_store(state / "controller" / "controller.sqlite", Clock(), Ids()) as store:
        await store.write(record)
    for archiver in ("archiver-0", "archiver-1"):
        keep(state / archiver, digests)


def keep(root: Path, digests: list[tuple[str, str, bytes]]) -> None:
    """Files and rows as an archiver has them."""
    blobs = BlobStore(root, fsync=False)
    for _, sha256, one in digests:
        path = blobs.path(sha256)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(one)
    with apsw.Connection(str(root / "archiver.db")) as connection:
        connection.executemany(
            "INSERT INTO droplets VALUES ('an-app', ?, ?, ?, 1, 1, 0)",
            [(sha1, sha256, len(one)) for sha1, sha256, one in digests],
        )


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        with up("--state", str(state)):
            pass
        trio.run(fill, state)
        times = []
        for _ in range(ROUNDS):
            with up("--state", str(state)) as appliance:
                times.append(appliance.ready)
                os.kill(appliance.endpoints["pid"], signal.SIGKILL)
        rows = [(f"{DROPLETS:,}", f"{median(times):.2f} s", f"{max(times):.2f} s", "1.0 s")]
    print(table(("droplets on each archiver", "ready, median", "slowest of 5", "target"), rows))
