"""What `doctor` looks at: each check says how it is, why, and what to do about it."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from appliance import endpoints
from appliance.config import GIB, MIB, Config
from appliance.dea.runtimes import find
from appliance.endpoints import Endpoints, EndpointsUnreadable
from appliance.kernel.errors import ApplianceError
from appliance.kernel.http.sockets import listen
from appliance.kernel.process.spawner import Spawner, SpawnFailed, open_spawner

Result = Literal["ok", "warn", "fail"]

DISK_LOW, DISK_FULL = 2 * GIB, 200 * MIB  # bytes free: below, a warning and a failure
CF_WITHIN = 5.0  # seconds for ``cf --version``

#: Programs that apps are built and run with: what for, and the Debian package.
RUNTIMES = {
    "python3": ("Python apps", "python3"),
    "uv": ("installing Python requirements", "uv, from the Python package index"),
    "node": ("Node apps", "nodejs"),
    "npm": ("installing Node packages", "npm"),
    "ruby": ("Ruby apps", "ruby"),
    "php": ("PHP apps", "php-cli"),
    "go": ("Go apps", "golang-go"),
    "java": ("Java apps", "default-jdk"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    result: Result
    why: str
    fix: str = ""  # what to do; "" when nothing

    def as_dict(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


def ports(config: Config, running: Endpoints | None) -> Iterator[Check]:
    """Whether the block's ports are free, or held by the appliance that runs."""
    urls = [running.api, running.apps, running.registry, running.package_cache, running.files,
            running.ssh, running.nats, *running.archivers] if running else []  # fmt: skip
    own = {urlsplit(url).netloc for url in urls}
    binds = {
        "API": config.controller.bind,
        "apps": config.router.bind,
        "registry": config.registry.bind,
        "package cache": config.package_cache.bind,
        "archivers": config.archiver.bind,
        "files": config.dea.bind,
        "ssh": config.ssh.bind,
        "NATS": config.nats.bind,
    }
    for what, bind in binds.items():
        name = f"port for {what}"
        if bind in own:
            yield Check(name=name, result="ok", why=f"{bind} is the running appliance's")
            continue
        try:
            for opened in listen(bind):
                opened.close()
        except ApplianceError as error:
            fix = "`appliance up --port 7800` takes another block, --port 0 any free ports"
            yield Check(name=name, result="fail", why=str(error).rstrip("."), fix=fix)
        else:
            yield Check(name=name, result="ok", why=f"{bind} is free")


def name_resolution(domain: str, resolve: Callable[[str], str] = socket.gethostbyname) -> Check:
    """Whether names of apps lead to this machine."""
    host = f"hello.{domain}"
    name = f"names in {domain}"
    try:
        address = resolve(host)
    except OSError:
        return Check(
            name=name,
            result="warn",
            why=f"this machine does not resolve {host}; browsers and curl do it by themselves",
            fix=f"add `127.0.0.1 {host}` to /etc/hosts, or ask 127.0.0.1 with the Host header",
        )
    if not address.startswith("127."):
        why = f"{host} leads to {address}, which is another machine"
        return Check(name=name, result="warn", why=why, fix=f"add `127.0.0.1 {host}` to /etc/hosts")
    return Check(name=name, result="ok", why=f"{host} is {address}")


def runtimes(found: Callable[[str], str | None] = find) -> Iterator[Check]:
    """Which kinds of apps can be pushed. Programs must be where sandboxes see them."""
    for program, (purpose, package) in RUNTIMES.items():
        path = found(program) or (_beside_us(program) if program == "uv" else None)
        if path:
            yield Check(name=program, result="ok", why=path)
        else:
            yield Check(
                name=program,
                result="warn",
                why=f"not installed: no {purpose}",
                fix=f"install {package}",
            )


def _beside_us(program: str) -> str | None:
    """The program that was installed together with the appliance."""
    path = Path(sys.executable).parent / program
    return str(path) if path.is_file() else None


async def sandbox(config: Config) -> Check:
    """Whether apps can be isolated; found out by isolating something."""
    try:
        async with open_spawner("auto") as spawner:
            kind, reason = spawner.sandbox.kind, spawner.sandbox.reason
            isolated = spawner.sandbox.isolated
    except ApplianceError as error:
        return Check(name="sandbox", result="fail", why=str(error), fix=error.hint)
    if isolated:
        return Check(name="sandbox", result="ok", why=kind)
    return Check(
        name="sandbox",
        result="fail" if config.sandbox == "require" else "warn",
        why=f"apps run NOT ISOLATED ({kind}): {reason}",
        fix="install bubblewrap, and allow unprivileged user namespaces",
    )


def disk_space(config: Config) -> Check:
    """Whether there is room for droplets and instances."""
    folder = config.state or Path(tempfile.gettempdir())
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    result: Result = "fail" if free < DISK_FULL else "warn" if free < DISK_LOW else "ok"
    return Check(
        name="disk space",
        result=result,
        why=f"{free / GIB:.1f} GiB free at {folder}",
        fix="" if result == "ok" else "free some, or use --state on another disk",
    )


async def cf_cli(spawner: Spawner, environ: Mapping[str, str]) -> Check:
    """Which ``cf`` is installed. None is needed: ours does the same."""
    path = shutil.which("cf", path=environ.get("PATH"))
    if path is None:
        why = "not installed; `appliance push` does without"
        return Check(name="cf CLI", result="ok", why=why)
    try:
        done = await spawner.run([path, "--version"], env=dict(environ), timeout=CF_WITHIN)
    except SpawnFailed as error:
        return Check(name="cf CLI", result="warn", why=str(error))
    told = " ".join(done.stdout.decode("utf-8", "replace").split())
    if " version 8" in told or "version v8" in told:
        return Check(name="cf CLI", result="ok", why=told)
    return Check(
        name="cf CLI", result="warn", why=told or f"{path} does not run", fix="install cf 8"
    )


def running_appliance(path: Path) -> tuple[Check, Endpoints | None]:
    """The appliance of the endpoints file at *path*, if it is alive."""
    name = "endpoints file"
    try:
        found = endpoints.read(path)
    except FileNotFoundError:
        return Check(name=name, result="ok", why=f"no appliance runs ({path} does not exist)"), None
    except EndpointsUnreadable as error:
        return Check(name=name, result="fail", why=str(error), fix=f"rm {path}"), None
    if not found.alive():
        why = f"{path} is stale: process {found.pid} has ended"
        return Check(name=name, result="warn", why=why, fix=f"rm {path}"), None
    return Check(name=name, result="ok", why=f"{found.api} runs as process {found.pid}"), found


def state_folder(config: Config) -> Check | None:
    """Whether the state folder can be used; None without one."""
    if config.state is None:
        return None
    folder, name = config.state, "state folder"
    if folder.exists() and not folder.is_dir():
        return Check(name=name, result="fail", why=f"{folder} is a file", fix="name another one")
    parent = folder
    while not parent.exists():
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        why = f"{parent} cannot be written: {error.strerror}"
        return Check(name=name, result="fail", why=why, fix="change its owner, or name another one")
    kept = "holds an appliance's state" if any(folder.glob("*")) else "is free to use"
    return Check(name=name, result="ok", why=f"{folder} {kept}")


def unknown_requests(found: Sequence[Mapping[str, Any]]) -> Check:
    """Whether clients asked the running appliance for something that it lacks."""
    name = "requests the API lacks"
    if not found:
        return Check(name=name, result="ok", why="no client asked for a path that is not there")
    asked = ", ".join(f"{one['method']} {one['path']} ({one['times']}x)" for one in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    fix = "fake_controller/COVERAGE.md lists what is there; a client may be newer than this API"
    return Check(name=name, result="warn", why=f"clients asked for {asked}{more}", fix=fix)
