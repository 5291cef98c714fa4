"""The controller as a room: opens its store, serves its routes, listens on the bus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from appliance.config import ControllerConfig
from appliance.dea.messages import DropletExited, Heartbeat, Stop
from appliance.health_manager.messages import Order
from appliance.kernel.component import Component
from appliance.kernel.http.server import serve_http
from appliance.kernel.kit import Kit
from appliance.kernel.process.folders import room_folder
from appliance.kernel.store.blobs import BlobStore
from appliance.kernel.trace import TraceLog
from fake_controller import ssh
from fake_controller.actual import Actual
from fake_controller.archivers import follow_archivers
from fake_controller.bits import Bits
from fake_controller.controller import Controller
from fake_controller.crashes import note_crash
from fake_controller.deploying import Deployer
from fake_controller.drains import Drains
from fake_controller.errors import present_error
from fake_controller.http import buildpack_bytes, droplet_bytes, package_bytes, root, staging
from fake_controller.http.late import LateApp
from fake_controller.interrupted import close_interrupted
from fake_controller.messages import BulkCredentials, BulkCredentialsRequest
from fake_controller.model import (
    Buildpack,
    Deployment,
    RevokedToken,
)
from fake_controller.running import Runner
from fake_controller.seeding import seed
from fake_controller.services.brokers import settle_brokers
from fake_controller.services.operator import Operator
from fake_controller.ssh_codes import Codes
from fake_controller.store import Store, Tx, open_store
from fake_controller.tasks import Tasks
from fake_controller.tokens import REFRESH_LIFETIME, Tokens, digest_password
from fake_controller.usage import WATCHERS
from fake_controller.workers import Workers

PRUNE_EVERY = 5.0  # seconds between looks, at most, for instances that nobody speaks of
HEARD_WITHIN = 3.0  # seconds for DEAs to say what they run, when the bus is back
SETTLE = 5.0  # seconds for builds and jobs to end, after the stagers have


async def serve(
    config: ControllerConfig,
    kit: Kit,
    *,
    trace_log: TraceLog,
    about: Callable[[], dict[str, Any]] = dict,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the controller until `kit.stopping`; ``started()`` gets its base URL."""
    async with room_folder(config.root, "controller") as root:
        database = root / "controller.sqlite" if config.root else None
        async with open_store(database, kit.clock, kit.ids, WATCHERS) as store:
            await _run(config, kit, store, root, trace_log, about, task_status)


async def _run(
    config: ControllerConfig,
    kit: Kit,
    store: Store,
    root: Path,
    trace_log: TraceLog,
    about: Callable[[], dict[str, Any]],
    task_status: trio.TaskStatus[str],
) -> None:
    durable = config.root is not None
    passwords = await trio.to_thread.run_sync(digest_password, config.password)
    secrets = await store.write(lambda tx: _open_books(tx, config, passwords))
    async with trio.open_nursery() as background:
        async with trio.open_nursery() as work:
            cc = Controller(
                config=config,
                kit=kit,
                store=store,
                bits=Bits(
                    pool=BlobStore(root / "resources", fsync=durable),
                    packages=BlobStore(root / "packages", fsync=durable),
                    buildpacks=BlobStore(root / "buildpacks", fsync=durable),
                    limit=config.max_package * 4,
                ),
                tokens=Tokens(
                    key=secrets["token-key"],
                    lifetime=config.token_lifetime,
                    issuer="appliance",
                    clock=kit.clock.time,
                    revoked={one.guid for one in await store.find(RevokedToken)},
                ),
                codes=Codes(kit.ids.hex),
                passcodes=Codes(kit.ids.hex),
                secrets=secrets,
                background=background,
                work=work,
                trace_log=trace_log,
                about=about,
                actual=Actual(silence=config.dea_timeout),
            )
            if config.archivers_announced:
                await background.start(follow_archivers, cc)
            used = {one.sha256 for one in await store.find(Buildpack)}
            await trio.to_thread.run_sync(cc.bits.keep_buildpacks, used)
            runner = Runner(cc)
            deployer = Deployer(cc, runner)
            tasks = Tasks(cc)
            cc.operator = Operator(cc, runner)
            workers = Workers(runner=runner, deployer=deployer, tasks=tasks)
            for listener in (_heartbeats, _exits, _bulk_credentials, ssh.answer, ssh.follow):
                await background.start(listener, cc)
            await background.start(_orders, cc, runner)
            await background.start(tasks.listen)
            background.start_soon(tasks.watch)
            background.start_soon(_prune, cc)
            background.start_soon(_after_outages, cc, runner)
            async with trio.open_nursery() as serving:
                component = Component(
                    kit, "CloudController", varz=partial(figures, cc), config=config
                )
                cc.url = await serving.start(_serve_http, cc, workers, component)
                await background.start(component.run, cc.url)
                for deployment in await store.find(Deployment, status_value="ACTIVE"):
                    deployer.begin(deployment)
                await cc.operator.resume()
                background.start_soon(Drains(cc).run)
                kit.health.mark(kit.room, "ready")
                kit.trace.event("controller.listening", url=cc.url)
                task_status.started(cc.url)
            # The server has drained: kit.stopping is set. A build that does not end in time is
            # marked as interrupted at the next start.
            work.cancel_scope.deadline = trio.current_time() + SETTLE
        background.cancel_scope.cancel()
    kit.health.mark(kit.room, "stopped")


async def _serve_http(
    cc: Controller,
    workers: Workers,
    component: Component,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    app = LateApp(partial(_make_app, cc, workers))
    blobs = [
        *root.blobs(cc),
        *package_bytes.blobs(cc),
        *droplet_bytes.blobs(cc),
        *buildpack_bytes.blobs(cc),
        *staging.blobs(cc),
        *component.routes(healthz=False),
    ]
    # Most clients ask more than the root document, and soon.
    cc.background.start_soon(app.load)
    await serve_http(
        app,
        cc.config.bind,
        cc.kit,
        blobs=blobs,
        present_error=present_error,
        task_status=task_status,
    )


def _make_app(cc: Controller, workers: Workers) -> Any:
    from fake_controller.http.table import make_routes

    return make_routes(cc, workers)


def figures(cc: Controller) -> dict[str, object]:
    """What /varz tells of a controller."""
    states = [instance.state for instance in cc.actual.live.values()]
    return {
        "running_instances": states.count("RUNNING"),
        "starting_instances": states.count("STARTING"),
        "crashed_instances": len(cc.actual.crashed),
        "stagings": len(cc.uploads),
    }


async def _heartbeats(
    cc: Controller, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async with cc.kit.subscribe(Heartbeat) as inbox:
        task_status.started()
        async for received in inbox:
            cc.actual.heard(received.body, trio.current_time())


async def _exits(
    cc: Controller, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async with cc.kit.subscribe(DropletExited) as inbox:
        task_status.started()
        async for received in inbox:
            cc.actual.exited(received.body)
            cc.build_changed()
            if received.body.reason == "CRASHED":
                await note_crash(cc, received.body)


async def _orders(
    cc: Controller, runner: Runner, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """What the health manager orders; one controller of several takes each order."""
    async with cc.kit.subscribe(Order, queue="cc") as inbox:
        task_status.started()
        async for received in inbox:
            order = received.body
            if order.op == "START":
                cc.background.start_soon(runner.start, order.droplet, order.indices, order.version)
            elif order.op == "STOP":
                cc.kit.publish(Stop(droplet=order.droplet, instances=order.instances))
            elif order.op == "SPINDOWN":
                runner.converge(order.droplet)


async def _bulk_credentials(
    cc: Controller, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    user = cc.config.bulk_user
    async with cc.kit.subscribe(BulkCredentialsRequest) as inbox:
        task_status.started()
        async for received in inbox:
            cc.kit.respond(received, BulkCredentials(user=user, password=cc.secrets[user]))


async def _after_outages(cc: Controller, runner: Runner) -> None:
    """Order again what was ordered in an outage of the bus, and of which no DEA knows."""
    while True:
        await cc.kit.bus.reconnected()
        began = trio.current_time()
        await trio.sleep(HEARD_WITHIN)
        for instance in cc.actual.forget_unheard(began):
            cc.kit.trace.event("order.lost", process=instance.process, index=instance.index)
            runner.converge(instance.process)


async def _prune(cc: Controller) -> None:
    while True:
        await trio.sleep(min(PRUNE_EVERY, cc.config.dea_timeout / 5))
        for instance in cc.actual.prune(trio.current_time()):
            cc.kit.trace.event("instance.lost", process=instance.process, index=instance.index)


def _open_books(tx: Tx, config: ControllerConfig, password: str) -> dict[str, str]:
    """Seed, and close what a stop has interrupted; returns the installation's secrets."""
    for revoked in tx.find(RevokedToken):
        # Such a token has expired by itself.
        if revoked.created_at + REFRESH_LIFETIME < tx.clock.time():
            tx.delete(revoked)
    close_interrupted(tx)
    settle_brokers(tx)
    return seed(tx, config, password)
