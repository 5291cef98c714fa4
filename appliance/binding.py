"""Where everything listens: sockets are opened before anything slow happens.

Clients that come early wait in the queue of a socket instead of being refused, and a taken
port is told before anything has begun.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from appliance.config import Config
from appliance.kernel.http.origin import ANY
from appliance.kernel.http.sockets import listen, url
from appliance.kernel.process.ledger import Ledger
from appliance.kernel.process.sweep import hold_state, sweep
from appliance.roles import check_roles


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Sockets that listen already, as ``fd://`` addresses and as URLs; the state, if any."""

    binds: dict[str, str]
    urls: dict[str, str]
    state: Ledger | None = None  # of the state folder, which is ours while it is open


def bind_sockets(config: Config) -> Bound:
    """Hold the state folder and open every listener, once what was killed is cleared up.

    Raises:
      ConfigError: the rooms would not find those that run elsewhere.
      StateBusy: another appliance has the state folder; the sentence names it.
      PortTaken: somebody listens there; the sentence names who.
    """
    check_roles(config)
    sweep()
    state = hold_state(config.state) if config.state else None
    try:
        return replace(_bind_sockets(config), state=state)
    except BaseException:
        if state:
            state.close()
        raise


def _bind_sockets(config: Config) -> Bound:
    alone = ("controller", "router", "registry", "package_cache", "ssh")
    wanted = {room: getattr(config, room).bind for room in alone if config.runs(room)}
    if config.bus == "local" and config.nats.bind:
        wanted["nats"] = config.nats.bind
        if config.nats.monitor_bind:
            wanted["nats_monitor"] = config.nats.monitor_bind
    for room, count in (("archiver", config.archivers), ("dea", config.deas)):
        for number in range(count if config.runs(room) else 0):
            wanted[f"{room}.{number}"] = _nth(getattr(config, room).bind, number)
    binds, urls = {}, {}
    for name, bind in wanted.items():
        sockets = listen(bind)
        urls[name] = url(sockets[0])
        binds[name] = ",".join(f"fd://{sock.detach()}" for sock in sockets)
    return Bound(binds=binds, urls=urls)


def _nth(bind: str, number: int) -> str:
    """The address of the *number*-th room of a kind: the ports follow each other."""
    host, _, port = bind.rpartition(":")
    return bind if port == "0" else f"{host}:{int(port) + number}"


def anywhere(config: Config) -> Config:
    """*config* with every port left to the operating system."""

    def moved(room: Any) -> Any:
        host = room.bind.rpartition(":")[0]
        return replace(room, bind=f"{host}:0")

    return replace(
        config,
        controller=moved(config.controller),
        router=moved(config.router),
        registry=moved(config.registry),
        package_cache=moved(config.package_cache),
        archiver=moved(config.archiver),
        dea=moved(config.dea),
        ssh=moved(config.ssh),
        nats=replace(
            config.nats,
            bind=config.nats.bind and "127.0.0.1:0",
            monitor_bind=config.nats.monitor_bind and "127.0.0.1:0",
        ),
    )


def names(config: Config) -> frozenset[str]:
    """The names by which clients may reach this appliance, as far as its settings tell."""
    binds = (
        room.bind.rpartition(":")[0]
        for room in (
            config.controller,
            config.registry,
            config.package_cache,
            config.archiver,
            config.dea,
        )
    )
    hosts = {host.strip("[]") for host in (config.listen, config.dea.host, *binds)}
    if not ANY.isdisjoint(hosts):
        hosts.add(socket.gethostname())
    if external := urlsplit(config.controller.external_url).hostname:
        hosts.add(external)
    return frozenset(hosts - ANY)
