"""Deleting an app: its instances, droplets, packages, processes and destinations go, too."""

from __future__ import annotations

import trio

from appliance.kernel.errors import ApplianceError
from appliance.stager.messages import ClearBuildCaches
from fake_controller.conditions import Condition, among, is_
from fake_controller.controller import Controller
from fake_controller.events import BY_ITSELF, Actor
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
    ServiceErrand,
    ServiceInstance,
    ServiceRouteBinding,
    Sidecar,
    Task,
)
from fake_controller.running import Runner
from fake_controller.services.instances import delete_instance
from fake_controller.services.places import Binding
from fake_controller.services.promises import promise_deprovision, promise_unbind
from fake_controller.store import Tx

OF_AN_APP = (
    Process, Sidecar, Droplet, Package, Build, Deployment, Revision, Task, Destination,
    ServiceCredentialBinding,
)  # fmt: skip


async def delete_app(cc: Controller, runner: Runner, guid: str, actor: Actor = BY_ITSELF) -> None:
    """Delete the app and all that is its own; routes stay, without it.

    Raises:
      CloudError: a broker could not delete a binding of it; the app is left as it is.
    """
    await unbind(cc, is_("app_guid", guid), ServiceCredentialBinding, actor)

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


async def delete_route(cc: Controller, runner: Runner, guid: str, actor: Actor = BY_ITSELF) -> None:
    """Delete a route and its destinations; the apps lose the name at once.

    Raises:
      CloudError: a broker could not let go of the route, which is left as it is.
    """
    await unbind(cc, is_("route_guid", guid), ServiceRouteBinding, actor)

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


async def unbind(cc: Controller, which: Condition, kind: type[Binding], actor: Actor) -> None:
    """Delete bindings of *kind* to services; what is at a broker is deleted there, too.

    Raises:
      CloudError: a broker could not, or something else is being done with a binding.
    """

    def work(tx: Tx) -> list[ServiceErrand]:
        errands = []
        for binding in tx.find(kind, which):
            if tx.need(ServiceInstance, binding.service_instance_guid).managed:
                errands.append(promise_unbind(tx, binding, actor))
            else:
                tx.delete(binding)
        return errands

    await cc.operator.perform_all(await cc.store.write(work))


async def delete_instances(cc: Controller, which: Condition, actor: Actor = BY_ITSELF) -> None:
    """Delete service instances with all that is bound to them, also at their brokers.

    Raises:
      CloudError: a broker could not, or something else is being done with one.
    """

    def work(tx: Tx) -> list[ServiceErrand]:
        errands = []
        for instance in tx.find(ServiceInstance, which):
            if instance.managed:
                errands.append(promise_deprovision(tx, instance, actor))
            else:
                delete_instance(tx, instance)
        return errands

    await cc.operator.perform_all(await cc.store.write(work))


async def forget_droplet(cc: Controller, app_guid: str, sha1: str) -> None:
    """Ask every archiver to delete a droplet. One that is down keeps it: that is told."""
    for base in cc.config.archivers:
        try:
            await cc.kit.http.request("DELETE", f"{base}/droplets/{app_guid}/{sha1}", timeout=10)
        except ApplianceError as error:
            cc.kit.trace.event("droplet.kept", app=app_guid, sha1=sha1, why=str(error))
