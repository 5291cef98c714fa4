"""Which rooms this process runs, and what they are told of those that run elsewhere. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from appliance.config import Config
from appliance.kernel.bus.servers import servers
from appliance.kernel.errors import ConfigError


def check_roles(config: Config) -> None:
    """Refuse settings with which the rooms of this process could not find the others.

    Raises:
      ConfigError: what is missing, and where it comes from.
    """
    if config.bus != "local":
        servers(config.bus)
    for key in ("controller_url", "router_url"):
        if getattr(config, key):
            _check_url(key, getattr(config, key))
    for url in config.controller.archivers:
        _check_url("controller.archivers", url)
    for url in config.archiver.peers:
        _check_url("archiver.peers", url)
    if not config.runs("controller"):
        _check_without_controller(config)
    elif not (config.runs("archiver") or config.controller.archivers or config.archiver.announced):
        rule = "must name archivers, since none runs in this process, nor is to announce itself"
        raise ConfigError("controller.archivers", (), rule)
    shared = (
        config.archiver.peers
        or config.archiver.announced
        or (config.runs("archiver") and not config.runs("controller"))
    )
    named = any(not _login(url) for url in config.controller.archivers)
    if (shared or named) and not config.archiver.password:
        rule = "must be given, the same one for the controller and all archivers"
        raise ConfigError("archiver.password", "", rule)


def _check_without_controller(config: Config) -> None:
    for room, known in (
        ("health_manager", config.health_manager.controller),
        ("registry", config.registry.controller),
    ):
        if config.runs(room) and not (known or config.controller_url):
            rule = f"must name the controller: {room} runs in this process, and that does not"
            raise ConfigError("controller_url", "", rule, hint="Add --controller URL.")
    if config.runs("registry") and not config.registry.client_secret:
        rule = "must be what the controller has as controller.registry_password"
        raise ConfigError("registry.client_secret", "", rule)


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """What rooms must know of each other."""

    archiver: str  # password of all archivers
    registry: str  # of UAA client "registry"


class Planned(NamedTuple):
    """One room that is to be started."""

    name: str  # of this one: ``archiver-0``
    room: str  # its kind, as in `Config.only`
    settings: Any


def plan(
    config: Config, binds: Mapping[str, str], urls: Mapping[str, str], secrets: Secrets
) -> Iterator[Planned]:
    """The rooms of this process with their settings, in the order in which they start.

    Args:
      binds: Where each listens, by room, or room and number: ``archiver.0``.
      urls: The same as URLs.
    """
    controller, router = controller_url(config, urls), router_url(config, urls)
    here = _archivers_here(config, urls, secrets)

    def root(own: Path | None, room: str) -> Path | None:
        return config.state / room if config.state else own

    if config.runs("logs"):
        yield Planned("logs", "logs", config.logs)
    if config.runs("ssh"):  # early, since it makes its key meanwhile
        ssh = replace(config.ssh, bind=binds["ssh"], root=root(config.ssh.root, "ssh"))
        yield Planned("ssh", "ssh", ssh)
    for number, url in enumerate(here):
        name, archiver = f"archiver-{number}", config.archiver
        archiver = replace(
            archiver,
            bind=binds[f"archiver.{number}"],
            root=root(archiver.root and archiver.root / name, name),
            password=secrets.archiver,
            peers=(*(other for other in here if other != url), *archiver.peers),
        )
        yield Planned(name, "archiver", archiver)
    if config.runs("package_cache"):
        cache = config.package_cache
        cache = replace(cache, bind=binds["package_cache"], root=root(cache.root, "package_cache"))
        yield Planned("package_cache", "package_cache", cache)
    # Each of several has a folder of its own: at its start it removes what is in there.
    for name in _numbered(config, "stager", config.stagers):
        stager = config.stager
        own = stager.root and (stager.root if config.stagers == 1 else stager.root / name)
        cache_url = urls.get("package_cache", stager.package_cache)
        stager = replace(stager, package_cache=cache_url, root=root(own, name))
        yield Planned(name, "stager", stager)
    for number, name in enumerate(_numbered(config, "dea", config.deas)):
        dea = config.dea
        own = dea.root and (dea.root if config.deas == 1 else dea.root / name)
        dea = replace(dea, bind=binds[f"dea.{number}"], root=root(own, name))
        yield Planned(name, "dea", dea)
    if config.runs("router"):
        yield Planned("router", "router", replace(config.router, bind=binds["router"]))
    if config.runs("registry"):
        registry = replace(
            config.registry,
            bind=binds["registry"],
            root=root(config.registry.root, "registry"),
            controller=config.registry.controller or controller,
            client_secret=secrets.registry,
        )
        yield Planned("registry", "registry", registry)
    if config.runs("controller"):
        settings = replace(
            config.controller,
            bind=binds["controller"],
            root=root(config.controller.root, "controller"),
            archivers=(*here, *_archivers_elsewhere(config, secrets)),
            archivers_announced=config.archiver.announced,
            archiver_user=config.archiver.user,
            archiver_password=secrets.archiver,
            app_port=(urlsplit(router).port if router else None) or config.controller.app_port,
            registry_password=secrets.registry,
        )
        yield Planned("controller", "controller", settings)
    if config.runs("health_manager"):
        manager = config.health_manager
        manager = replace(manager, controller=manager.controller or controller)
        yield Planned("health_manager", "health_manager", manager)


def controller_url(config: Config, urls: Mapping[str, str]) -> str:
    """Base URL of the controller, here or elsewhere; "" when nobody has told."""
    return urls.get("controller", "") or config.controller_url.rstrip("/")


def router_url(config: Config, urls: Mapping[str, str]) -> str:
    """Base URL of a router, here or elsewhere; "" when nobody has told."""
    return urls.get("router", "") or config.router_url.rstrip("/")


def _archivers_here(config: Config, urls: Mapping[str, str], secrets: Secrets) -> tuple[str, ...]:
    count = config.archivers if config.runs("archiver") else 0
    user = config.archiver.user
    return tuple(
        with_login(urls[f"archiver.{number}"], user, secrets.archiver) for number in range(count)
    )


def _archivers_elsewhere(config: Config, secrets: Secrets) -> Iterator[str]:
    for url in config.controller.archivers:
        bare = url.rstrip("/")
        yield bare if _login(url) else with_login(bare, config.archiver.user, secrets.archiver)


def _numbered(config: Config, room: str, count: int) -> list[str]:
    if not config.runs(room):
        return []
    return [room] if count == 1 else [f"{room}-{number}" for number in range(count)]


def with_login(url: str, user: str, password: str) -> str:
    """*url* with a login in it."""
    return url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def _login(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[0]


def _check_url(key: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(key, re.sub(r"//.*@", "//", url), "must look like http://HOST:PORT")
