"""Which appliance a command talks to, and as whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from appliance import endpoints
from appliance.commands.errors import NotRunning
from appliance.endpoints import Endpoints


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was said on the command line; "" where nothing was."""

    api: str = ""
    org: str = ""
    space: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """An appliance, a user and a space."""

    api: str  # base URL, without a slash at the end
    user: str
    password: str
    org: str
    space: str
    found_by: str  # "--api", "APPLIANCE_API" or the path of an endpoints file
    endpoints: Endpoints | None = None  # what its file says, when there is one

    @property
    def local(self) -> bool:
        """Whether it runs on this machine, as far as its address tells."""
        host = urlsplit(self.api).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    @property
    def place(self) -> str:
        """``org dev / space dev``."""
        return f"org {self.org} / space {self.space}"


def find(wanted: Wanted, environ: Mapping[str, str]) -> Target:
    """The appliance that *wanted* names, else the environment, else its endpoints file.

    Raises:
      NotRunning: nothing says where there is one.
    """
    file, running = _endpoints(environ)
    said, found_by = wanted.api, "--api"
    if not said:
        said, found_by = environ.get("APPLIANCE_API", ""), "APPLIANCE_API"
    if said:
        api = normalized(said)
        # The file's login belongs to the appliance that wrote it, and to no other.
        known = running if running is not None and running.api == api else None
    elif running is not None:
        api, found_by, known = running.api, str(file), running
    else:
        raise NotRunning(f"No appliance was found: there is no {file}.")
    return Target(
        api=api,
        user=environ.get("APPLIANCE_USER") or (known.user if known else "admin"),
        password=environ.get("APPLIANCE_PASSWORD") or (known.password if known else "admin"),
        org=wanted.org or environ.get("APPLIANCE_ORG") or "dev",
        space=wanted.space or environ.get("APPLIANCE_SPACE") or "dev",
        found_by=found_by,
        endpoints=known,
    )


def normalized(api: str) -> str:
    """``127.0.0.1:7700/`` as ``http://127.0.0.1:7700``."""
    return (api if "://" in api else f"http://{api}").rstrip("/")


def _endpoints(environ: Mapping[str, str]) -> tuple[Path, Endpoints | None]:
    path = endpoints.default_path(environ)
    if state := environ.get("APPLIANCE_STATE"):
        path = Path(state).expanduser() / endpoints.NAME
    try:
        return path, endpoints.read(path)
    except FileNotFoundError:
        return path, None
