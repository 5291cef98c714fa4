"""Deleting an app: its instances, droplets, packages, processes and destinations go, too."""

from __future__ import annotations

import trio

from appliance.kernel.errors import ApplianceError
from appliance.stager.messages import ClearBuildCaches
from fake_controller.conditions import among
from fake_controller.controller import Controller
from fake_controller.model import (
    App,
    Build,
    Deployment,
    Destination,
    Domain,
    DomainShare,
    Droplet,
    NetworkPolicy,
    Package,
    Process,
    Revision,
    Route,
    ServiceCredentialBinding,
    ServiceRouteBinding,
    Sidecar,
    Task,
)
from fake_controller.running import Runner
from fake_controller.store import Tx

OF_AN_APP = (
    Process, Sidecar, Droplet, Package, Build, Deployment, Revision, Task, Destination,
    ServiceCredentialBinding,
)  # fmt: skip


async def delete_app(cc: Controller, runner: Runner, guid: str) -> None:
    """Delete the app and all that is its own; routes stay, without it."""

    def work(tx: Tx) -> tuple[list[str], list[str], list[str]]:
        processes = [p.guid for p in tx.find(Process, app_guid=guid)]
        droplets = [d.sha1 for d in tx.find(Droplet, app_guid=guid) if d.sha1]
        packages = [p.guid for p in tx.find(Package, app_guid=guid)]
        for kind in OF_AN_APP:
            for record in tx.find(kind, app_guid=guid):
                tx.delete(record)
        for policy in tx.find(
            NetworkPolicy, among("app_guid", [guid]) | among("destination_guid", [guid])
        ):
            tx.delete(policy)
        if app := tx.get(App, guid):  # not, when somebody else was faster
            tx.delete(app)
        return processes, droplets, packages

    processes, droplets, packages = await cc.store.write(work)
    for process in processes:
        runner.converge(process)
    for package in packages:
        await trio.to_thread.run_sync(cc.bits.packages.delete, package)
    cc.kit.publish(ClearBuildCaches(app_id=guid))
    for sha1 in droplets:
        await forget_droplet(cc, guid, sha1)


async def delete_route(cc: Controller, runner: Runner, guid: str) -> None:
    """Delete a route and its destinations; the apps lose the name at once."""

    def work(tx: Tx) -> set[str]:
        destinations = tx.find(Destination, route_guid=guid)
        for one in (*destinations, *tx.find(ServiceRouteBinding, route_guid=guid)):
            tx.delete(one)
        if route := tx.get(Route, guid):
            tx.delete(route)
        return {one.app_guid for one in destinations}

    for app in await cc.store.write(work):
        await runner.update_routes(app)


async def delete_domain(cc: Controller, runner: Runner, guid: str) -> None:
    """Delete a domain and the routes that are called by it."""
    for route in await cc.store.find(Route, domain_guid=guid):
        await delete_route(cc, runner, route.guid)

    def work(tx: Tx) -> None:
        for share in tx.find(DomainShare, domain_guid=guid):
            tx.delete(share)
        if domain := tx.get(Domain, guid):
            tx.delete(domain)

    await cc.store.write(work)


async def forget_droplet(cc: Controller, app_guid: str, sha1: str) -> None:
    """Ask every archiver to delete a droplet. One that is down keeps it: that is told."""
    for base in cc.config.archivers:
        try:
            await cc.kit.http.request("DELETE", f"{base}/droplets/{app_guid}/{sha1}", timeout=10)
        except ApplianceError as error:
            cc.kit.trace.event("droplet.kept", app=app_guid, sha1=sha1, why=str(error))
