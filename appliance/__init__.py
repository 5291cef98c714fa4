"""Cloud Foundry in one Python process.

push ─▶ controller ─▶ stager ─▶ archiver ─▶ archivers (replicas) ─▶ DEA ─▶ router ─▶ it answers
        bits, builds    └ package cache        └ registry (the droplet as an OCI image)

Each of these is a *room*: a package of its own, which knows the others only by messages on
a bus and by URLs. `boot` starts them all; ``async with appliance.running() as a:`` does so
from Python, on free ports, and leaves nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "running"]

if TYPE_CHECKING:
    from appliance.boot import running


def __getattr__(name: str) -> Any:
    # Imported when asked for: ``appliance --version`` should not load a web server.
    if name == "running":
        from appliance.boot import running

        return running
    raise AttributeError(f"module 'appliance' has no attribute {name!r}")
