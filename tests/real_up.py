"""A real ``appliance up`` in a process of its own, for tests that signal it or look at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio


@dataclass(frozen=True)
class Up:
    """One that is ready."""

    process: subprocess.Popen[str]
    endpoints: dict[str, Any]  # as the ready file has them
    said: Path  # its stderr

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, as a person or an init does."""
        os.kill(self.endpoints["pid"], number)

    async def ended(self, within: float) -> int:
        """Its exit status; fails when there is none *within* so many seconds."""
        with trio.fail_after(within):
            return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)


@contextmanager
def started(
    folder: Path, *words: object, umask: int = -1, env: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], Path, Path]]:
    """``appliance up --port 0`` with *words*; its ready file and its stderr. Killed afterwards."""
    ready, said = folder / "ready" / "endpoints.json", folder / "said"
    argv = [sys.executable, "-m", "appliance", "up", "--port", "0", "--ready-file", str(ready)]
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder / "run"), **(env or {})}
    with open(said, "w") as stderr:
        process = subprocess.Popen(
            [*argv, *map(str, words)], stdout=subprocess.DEVNULL, stderr=stderr, text=True,
            umask=umask, env=environ,
        )  # fmt: skip
        try:
            yield process, ready, said
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@asynccontextmanager
async def up(
    folder: Path, *words: object, umask: int = -1, env: dict[str, str] | None = None
) -> AsyncIterator[Up]:
    """The same, once it is ready."""
    with started(folder, *words, umask=umask, env=env) as (process, ready, said):
        with trio.fail_after(20):
            while not ready.exists():
                assert process.poll() is None, said.read_text()
                await trio.sleep(0.01)
        yield Up(process, json.loads(ready.read_text()), said)
