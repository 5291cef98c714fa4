"""An archiver in a process of its own, started again and again by a parent that has loaded it.

``python -m tests.crash.node ROOT BIND PEER [WITHOUT…]`` prints the pid of a new process for
each line on its standard input, and that process prints ``ready``. *WITHOUT* takes away one
thing that makes an archiver survive a power cut.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import trio

from appliance.archiver.service import serve
from appliance.config import ArchiverConfig
from appliance.kernel.bus.local import LocalBus
from appliance.kernel.http import server  # loaded before the forks  # noqa: F401
from appliance.kernel.http.client import Client
from appliance.kernel.kit import Kit
from appliance.kernel.store import database
from appliance.kernel.store.disk import LocalDisk
from appliance.kernel.trace import Trace

PASSWORD = "secret"
PR_SET_PDEATHSIG = 1


async def run(root: Path, bind: str, peer: str) -> None:
    """Serve until SIGTERM."""
    config = ArchiverConfig(
        root=root,
        bind=bind,
        password=PASSWORD,
        peers=(peer,),
        retry_first=0.05,
        retry_most=0.5,
        reconcile_every=5.0,
    )
    kit = Kit(
        room="archiver",
        bus=LocalBus(),
        http=Client(),
        spawner=cast(Any, None),
        trace=Trace("archiver", []),
    )

    async def stop() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                kit.stopping.set()
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        await nursery.start(_announce, config, kit)
        await kit.stopping.wait()


async def _announce(
    config: ArchiverConfig, kit: Kit, *, task_status: trio.TaskStatus[None]
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, config, kit)
        os.write(1, b"ready\n")
        task_status.started()


def break_it(what: str) -> None:
    """Take one safeguard away."""
    sync, connect = LocalDisk.sync, database._connect

    def sync_files_only(self: LocalDisk, path: Path) -> None:
        if not path.is_dir():
            sync(self, path)

    def connect_normal(path: Path | None, schema: Sequence[str], synchronous: bool) -> Any:
        connection = connect(path, schema, synchronous)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    if what == "fsync":
        os.fsync = lambda fd: None
    elif what == "folder-fsync":
        LocalDisk.sync = sync_files_only  # type: ignore[method-assign]
    elif what == "full":
        database._connect = connect_normal
    else:
        raise ValueError(what)


def main() -> None:
    """Fork once per line."""
    root, bind, peer, *without = sys.argv[1:]
    for what in without:
        break_it(what)
    parent = os.getpid()
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            trio.run(run, Path(root), bind, peer)
            os._exit(0)
        os.write(1, b"%d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    main()
