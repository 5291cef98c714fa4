"""Desired against actual for one process: place what is missing, stop what is too much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from appliance.dea import messages
from appliance.dea.messages import Discover, Hello, Limits, Start, Stop, Update
from appliance.kernel.bus import NoResponders, RequestTimeout
from appliance.router.messages import Routing
from fake_controller.actual import Instance
from fake_controller.controller import Controller
from fake_controller.features import services_as
from fake_controller.messages import DropletUpdated
from fake_controller.model import (
    App,
    Droplet,
    Organization,
    Process,
    Sidecar,
    Space,
)
from fake_controller.naming import asking, routes_of
from fake_controller.services.bound import bound_services
from fake_controller.sidecars import sidecars_of
from fake_controller.store import Tx
from fake_controller.surroundings import as_lines, running_variables

DISCOVER_TIMEOUT = 2.0  # seconds for a DEA to say that it has room


@dataclass(frozen=True, kw_only=True, slots=True)
class Desired:
    """What one process should be like, with all that a start order needs."""

    app: App
    process: Process
    droplet: Droplet | None
    routes: dict[str, Routing]  # by URI
    variables: dict[str, str]
    space: Space | None
    organization: Organization | None
    services: list[dict[str, Any]]  # that are bound
    sidecars: list[Sidecar]

    @property
    def instances(self) -> int:
        """How many should run now."""
        runs = self.app.state == "STARTED" and self.droplet and self.droplet.state == "STAGED"
        return self.process.instances if runs else 0

    @property
    def version(self) -> str:
        """STAGEDSHA-RUNCOUNT, as on the wire since 2012."""
        return f"{self.droplet.sha1 if self.droplet else ''}-{self.process.run_count}"

    @property
    def uris(self) -> list[str]:
        """The names that lead to it."""
        return list(self.routes)


def desired(tx: Tx, process: Process) -> Desired:
    """Collect what is desired of *process*."""
    app = tx.need(App, process.app_guid)
    space = tx.get(Space, app.space_guid)
    return Desired(
        app=app,
        process=process,
        droplet=tx.get(Droplet, process.droplet_guid or app.droplet_guid),
        routes=routes_of(tx, app.guid, process.type),
        variables=running_variables(tx, app),
        space=space,
        organization=tx.get(Organization, space.organization_guid) if space else None,
        services=bound_services(tx, app.guid),
        sidecars=sidecars_of(tx, app.guid, process.type),
    )


@dataclass
class Runner:
    """Brings each process to what is desired; one round at a time for each."""

    cc: Controller
    _busy: dict[str, bool] = field(default_factory=dict)  # process: whether to go round again
    _starting: set[tuple[str, str, int]] = field(default_factory=set)  # process, version, index

    def converge(self, process_guid: str) -> None:
        """Bring *process_guid* to what is desired, in the background."""
        self.cc.kit.publish(DropletUpdated(droplet=process_guid))
        if process_guid in self._busy:
            self._busy[process_guid] = True
        else:
            self._busy[process_guid] = False
            self.cc.background.start_soon(self._rounds, process_guid)

    async def _rounds(self, process_guid: str) -> None:
        try:
            while True:
                self._busy[process_guid] = False
                await self._round(process_guid)
                if not self._busy[process_guid]:
                    return
        finally:
            del self._busy[process_guid]

    async def _round(self, process_guid: str) -> None:
        def look(tx: Tx) -> Desired | None:
            process = tx.get(Process, process_guid)
            return desired(tx, process) if process else None

        wanted = await self.cc.store.read(look)
        if wanted is None or wanted.instances == 0:
            self.cc.kit.publish(Stop(droplet=process_guid))
            self.cc.actual.forget(process_guid)
            return
        live = self.cc.actual.of(process_guid)
        good = [i for i in live if i.version == wanted.version and i.index < wanted.instances]
        if extra := [i.guid for i in live if i not in good]:
            self.cc.kit.publish(Stop(droplet=process_guid, instances=extra))
        # A crashed index is not placed here: the health manager orders it after its back-off.
        crashed = {
            index
            for (process, index), crash in self.cc.actual.crashed.items()
            if process == process_guid and crash.version == wanted.version
        }
        present = {i.index for i in good} | crashed
        missing = [index for index in range(wanted.instances) if index not in present]
        async with trio.open_nursery() as nursery:
            for index in missing:
                nursery.start_soon(self.place, wanted, index)

    async def start(self, process_guid: str, indices: list[int], version: str | None) -> None:
        """Place these instances, if they are still wanted and do not run: an order of the
        health manager."""

        def look(tx: Tx) -> Desired | None:
            process = tx.get(Process, process_guid)
            return desired(tx, process) if process else None

        wanted = await self.cc.store.read(look)
        if wanted is None or (version and version != wanted.version):
            return
        present = {i.index for i in self.cc.actual.of(process_guid) if i.version == wanted.version}
        for index in indices:
            if index < wanted.instances and index not in present:
                await self.place(wanted, index)

    async def place(self, wanted: Desired, index: int) -> None:
        """Find a DEA with room and order one instance. A start is never acknowledged."""
        key = (wanted.process.guid, wanted.version, index)
        if key in self._starting or self.cc.kit.draining.is_set():
            return
        self._starting.add(key)
        try:
            await self._place(wanted, index)
        finally:
            self._starting.discard(key)

    async def _place(self, wanted: Desired, index: int) -> None:
        process, kit = wanted.process, self.cc.kit
        assert wanted.droplet is not None
        question = Discover(
            droplet=process.guid,
            limits=_limits(process),
            name=wanted.app.name,
            sha=wanted.droplet.sha1,
        )
        try:
            hello = await kit.request(question, Hello, timeout=DISCOVER_TIMEOUT)
        except (NoResponders, RequestTimeout):
            why = f"insufficient resources: no DEA has {process.memory_in_mb} MB free"
            self.cc.actual.refuse(process.guid, why)
            kit.trace.event("placement.failed", app=wanted.app.name, index=index)
            return
        guid = kit.ids.guid()
        order = start_message(wanted, index, guid, self.cc)
        kit.trace.event("instance.ordered", app=wanted.app.name, index=index, dea=hello.id)
        self.cc.actual.ordered(
            Instance(
                process=process.guid,
                version=wanted.version,
                guid=guid,
                index=index,
                state="STARTING",
                since=kit.clock.time(),
                dea=hello.id,
            ),
            trio.current_time(),
        )
        kit.publish(order, subject=f"dea.{hello.id}.start")

    async def update_routes(self, app_guid: str) -> None:
        """Tell the DEAs which names lead to the app now."""

        def look(tx: Tx) -> list[tuple[str, dict[str, Routing]]]:
            return [
                (process.guid, routes_of(tx, app_guid, process.type))
                for process in tx.find(Process, app_guid=app_guid)
            ]

        for process, routes in await self.cc.store.read(look):
            update = Update(droplet=process, uris=list(routes), routing=asking(routes))
            self.cc.kit.publish(update)


def archiver_urls(cc: Controller, droplet: Droplet) -> list[str]:
    """Where a droplet can be had, with credentials: the archiver to ask first, then the others."""
    return [f"{base}/droplets/{droplet.app_guid}/{droplet.sha1}" for base in cc.config.archivers]


def _limits(process: Process) -> Limits:
    return Limits(mem=process.memory_in_mb, disk=process.disk_in_mb, log_rate=process.log_rate)


def health_check(process: Process) -> dict[str, Any]:
    """How the DEA finds out whether an instance is healthy, as on the wire."""
    return {"type": process.health_check_type} | _set(
        timeout=process.health_check_timeout,
        invocation_timeout=process.health_check_invocation_timeout,
        interval=process.health_check_interval,
        endpoint=process.health_check_endpoint,
    )


def readiness_check(process: Process) -> dict[str, Any]:
    """How the DEA finds out whether an instance takes requests, as on the wire."""
    return {"type": process.readiness_type} | _set(
        invocation_timeout=process.readiness_invocation_timeout,
        interval=process.readiness_interval,
        endpoint=process.readiness_endpoint,
    )


def _set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def start_message(wanted: Desired, index: int, guid: str, cc: Controller) -> Start:
    """The order for one instance."""
    process, app, droplet = wanted.process, wanted.app, wanted.droplet
    assert droplet is not None
    first, *others = archiver_urls(cc, droplet)
    command = process.command
    if command is None and process.type != "web":
        command = droplet.process_types.get(process.type)
    return Start(
        droplet=process.guid,
        index=index,
        name=app.name,
        version=wanted.version,
        sha1=droplet.sha1 or "",
        sha256=droplet.sha256,
        executableFile="",
        executableUri=first,
        executableUris=others,
        uris=wanted.uris,
        routing=asking(wanted.routes),
        services=wanted.services,
        services_as=services_as(app.features),
        env=as_lines(wanted.variables),
        limits=_limits(process),
        app_id=app.guid,
        process_type=process.type,
        command=command,
        instance_guid=guid,
        health_check=health_check(process),
        readiness_health_check=readiness_check(process),
        sidecars=[
            messages.Sidecar(name=one.name, command=one.command, memory=one.memory_in_mb)
            for one in wanted.sidecars
        ],
        port_wanted=process.type == "web" and process.health_check_type != "process",
        vcap_application=vcap_application(wanted, cc),
    )


def vcap_application(wanted: Desired, cc: Controller) -> dict[str, Any]:
    """VCAP_APPLICATION without what only the DEA knows."""
    app, process = wanted.app, wanted.process
    space, organization = wanted.space, wanted.organization
    return {
        "cf_api": cc.config.external_url or cc.url,
        "limits": {"fds": 16384, "mem": process.memory_in_mb, "disk": process.disk_in_mb},
        "application_id": app.guid,
        "application_name": app.name,
        "application_uris": wanted.uris,
        "application_version": wanted.version,
        "name": app.name,
        "uris": wanted.uris,
        "version": wanted.version,
        "space_id": space.guid if space else None,
        "space_name": space.name if space else None,
        "organization_id": organization.guid if organization else None,
        "organization_name": organization.name if organization else None,
        "process_id": process.guid,
        "process_type": process.type,
        "users": None,
    }
