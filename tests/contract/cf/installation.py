"""One controller for all tests of this folder, with a stager, a DEA and a log store.

It runs on a thread of its own, so that the tests can be plain: they are a client's side only,
and what they put on the wire is theirs to the last byte.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import trio

from appliance.config import LogsConfig
from appliance.logs.service import serve as serve_logs
from tests.fake_controller.conftest import Cloud, Dea, Stager, running_cloud


@dataclass(frozen=True)
class Installation:
    """What the tests may know of it, and change."""

    cloud: Cloud
    stager: Stager
    dea: Dea
    token: trio.lowlevel.TrioToken
    stop: trio.Event = field(default_factory=trio.Event)

    def run(self, act: Callable[[], object]) -> None:
        """Do something on its thread: events may be set nowhere else."""
        trio.from_thread.run_sync(act, trio_token=self.token)

    @property
    def url(self) -> str:
        """What clients are told."""
        return self.cloud.url


@contextmanager
def running(folder: Path) -> Iterator[Installation]:
    """Start it; it has stopped when this ends. What it fails with is raised here."""
    started: SimpleQueue[Installation | BaseException] = SimpleQueue()
    failed: list[BaseException] = []

    async def serve() -> None:
        async with running_cloud() as cloud:
            cloud.folder = folder
            token = trio.lowlevel.current_trio_token()
            made = Installation(cloud, Stager(cloud), Dea(cloud), token)
            await cloud.nursery.start(made.stager.run)
            await cloud.nursery.start(made.dea.run)
            await cloud.nursery.start(serve_logs, LogsConfig(), cloud.kit.named("logs"))
            started.put(made)
            await made.stop.wait()

    def work() -> None:
        try:
            trio.run(serve)
        except BaseException as error:  # the test's thread raises it
            failed.append(error)
            started.put(error)

    thread = threading.Thread(target=work, name="installation")
    thread.start()
    made = started.get()
    try:
        if isinstance(made, Installation):
            yield made
            made.run(made.stop.set)
    finally:
        thread.join()
    if failed:
        raise failed[0]
