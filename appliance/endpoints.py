"""The endpoints file: how commands and tests find an appliance that runs."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from appliance.kernel.errors import ApplianceError

NAME = "endpoints.json"


class EndpointsUnreadable(ApplianceError):
    """The endpoints file exists, but is not one."""

    code, exit_code = "endpoints-unreadable", 69


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoints:
    """Where one appliance listens, and how to log in. URLs have no slash at the end."""

    api: str  # CAPI v3, UAA and log-cache
    apps: str = ""  # the router; apps are told apart by their Host header
    registry: str = ""
    package_cache: str = ""
    archivers: list[str] = field(default_factory=list)
    files: str = ""  # the first DEA's file viewer
    ssh: str = ""  # where ssh clients connect, e.g. ssh://127.0.0.1:7722
    nats: str = ""  # with its login; "" when the bus has no listener
    nats_monitor: str = ""  # /varz and the like of that listener
    user: str = "admin"
    password: str = "admin"
    state: str = ""  # folder; "" when everything is in memory and gone at exit
    sandbox: str = ""  # what confines apps, or "NOT ISOLATED: why"
    pid: int = 0  # the process to signal, as seen from outside of its namespace
    version: str = ""
    only: list[str] = field(default_factory=list)  # rooms of this process; empty: all of them

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    def write(self, path: Path) -> None:
        """Write the file at once and for the user alone: it holds a password."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # mkstemp makes the file 0600; the rename means that nobody reads half of it.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(self.as_dict(), indent=2) + "\n")
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def remove(self, path: Path) -> None:
        """Remove the file, unless a later appliance has put its own there."""
        try:
            if read(path).pid == self.pid:
                path.unlink(missing_ok=True)
        except (OSError, EndpointsUnreadable):
            return

    def alive(self) -> bool:
        """Whether the process that wrote this still exists."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            return True
        return self.pid > 0


def read(path: Path) -> Endpoints:
    """What `Endpoints.write` wrote; keys of later versions are left out.

    Raises:
      FileNotFoundError: there is no such file.
      EndpointsUnreadable: it is something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name for f in fields(Endpoints)}
        return Endpoints(**{key: value for key, value in values.items() if key in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise EndpointsUnreadable(
            f"{path} is not an endpoints file.", hint="Remove it, and start the appliance again."
        ) from error


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """``$XDG_RUNTIME_DIR/appliance/endpoints.json``, or below the state folder of the user."""
    environ = os.environ if environ is None else environ
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "appliance" / NAME
    state = environ.get("XDG_STATE_HOME")
    home = environ.get("HOME")
    if state or home:
        base = Path(state) if state else Path(str(home)) / ".local" / "state"
        return base / "appliance" / NAME
    return Path(tempfile.gettempdir()) / f"appliance-{os.getuid()}" / NAME
