"""Deployments: a change of droplet without a gap."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from fake_controller import present
from fake_controller.acting import Acting
from fake_controller.consumption import check_process, check_rolling
from fake_controller.deploying import Wanted
from fake_controller.errors import CloudError, unprocessable
from fake_controller.http.api import Api
from fake_controller.http.listing import Listing
from fake_controller.http.relations import Guid, Metadata, OfApp, new_labels, plain
from fake_controller.model import App, Deployment, Process
from fake_controller.model.apps import MOST_INSTANCES
from fake_controller.store import Tx

DEPLOYMENTS = Listing(
    kind=Deployment,
    filters={
        "guids": "guid",
        "app_guids": "app_guid",
        "status_values": "status_value",
        "status_reasons": "status_reason",
    },
    present=lambda record, base, _: present.deployment(record, base),
)


class CanaryStep(msgspec.Struct):
    instance_weight: int


class Canary(msgspec.Struct):
    steps: list[CanaryStep] | None = None


class Options(msgspec.Struct, forbid_unknown_fields=True):
    max_in_flight: int | None = None
    web_instances: int | None = None
    memory_in_mb: int | None = None
    disk_in_mb: int | None = None
    log_rate_limit_in_bytes_per_second: int | None = None
    canary: Canary | None = None


class NewDeployment(msgspec.Struct):
    relationships: OfApp
    droplet: Guid | None = None
    revision: Guid | None = None
    strategy: str | None = None
    options: Options | None = None
    metadata: Metadata | None = None


def routes(api: Api) -> None:
    """``/v3/deployments``."""
    cc, deployer = api.cc, api.workers.deployer
    api.lists("/v3/deployments", DEPLOYMENTS)
    api.labels("/v3/deployments/<guid>", DEPLOYMENTS)

    @api.post("/v3/deployments", body=NewDeployment)
    async def deploy(wanted: NewDeployment) -> Response:
        order = understand(wanted)

        def work(acting: Acting) -> tuple[Deployment, Deployment | None]:
            app = acting.change(App, order.app_guid)
            before = acting.tx.first(Deployment, app_guid=app.guid, status_value="ACTIVE")
            made = deployer.create(acting.tx, order)
            _check_quotas(acting.tx, made)
            facts = {"deployment_guid": made.guid, "droplet_guid": made.droplet_guid}
            acting.audit("audit.app.deployment.create", app, facts | {"request": plain(wanted)})
            return made, before

        deployment, before = await api.write(work)
        cc.log(order.app_guid, f"Creating deployment for app with guid {order.app_guid}")
        if before:
            deployer.settle(before)
        deployer.begin(deployment)
        return await api.show(DEPLOYMENTS, deployment.guid, 201)

    @api.get("/v3/deployments/<guid>")
    async def deployment(guid: str) -> Response:
        async def look() -> Deployment:
            return await api.read(lambda acting: acting.see(Deployment, guid))

        def settled(record: Deployment) -> bool:
            # A crash of the new version is news, too: the client decides what to do.
            crashed = any(p == record.new_process_guid for p, _ in cc.actual.crashed)
            return record.status_reason not in ("DEPLOYING", "CANCELING") or crashed

        return api.json(present.deployment(await api.held(look, settled, on="work"), api.base))

    @api.post("/v3/deployments/<guid>/actions/cancel")
    async def cancel(guid: str) -> Response:
        def work(acting: Acting) -> Deployment:
            deployment = acting.change(Deployment, guid)
            app = acting.tx.need(App, deployment.app_guid)
            facts = {"deployment_guid": guid, "droplet_guid": deployment.droplet_guid}
            acting.audit("audit.app.deployment.cancel", app, facts)
            return deployer.cancel(acting.tx, guid)

        deployer.settle(await api.write(work))
        return api.json({})

    @api.post("/v3/deployments/<guid>/actions/continue")
    async def go_on(guid: str) -> Response:
        def work(acting: Acting) -> Deployment:
            deployment = acting.change(Deployment, guid)
            app = acting.tx.need(App, deployment.app_guid)
            acting.audit("audit.app.deployment.continue", app, {"deployment_guid": guid})
            return deployer.go_on(acting.tx, guid)

        deployer.settle(await api.write(work))
        return api.json({})


def _check_quotas(tx: Tx, made: Deployment) -> None:
    """Raises 422 when what the deployment starts, while the old one runs, is too much."""
    process = tx.need(Process, made.new_process_guid)
    if made.status_value == "ACTIVE":
        check_rolling(tx, process, min(made.max_in_flight, made.instances))
    else:
        check_process(tx, process)


def understand(wanted: NewDeployment) -> Wanted:
    """What a request asks for.

    Raises:
      CloudError: 422 with Cloud Controller's text for what is wrong.
    """
    options = wanted.options or Options()
    strategy = wanted.strategy or "rolling"
    if strategy not in ("rolling", "canary"):
        raise unprocessable(f"Strategy '{strategy}' is not a supported deployment strategy")
    if wanted.droplet and wanted.revision:
        raise unprocessable("Droplet Cannot set both fields 'droplet' and 'revision'")
    if options.max_in_flight is not None and options.max_in_flight < 1:
        raise unprocessable("Max in flight must be an integer greater than 0")
    if options.canary and strategy != "canary":
        raise unprocessable("Options.canary are only valid for Canary deployments")
    weights = [step.instance_weight for step in (options.canary and options.canary.steps) or ()]
    if wrong := _wrong_weights(weights):
        raise wrong
    limits: dict[str, Any] = {
        "memory_in_mb": options.memory_in_mb,
        "disk_in_mb": options.disk_in_mb,
        "log_rate": options.log_rate_limit_in_bytes_per_second,
    }
    for name, low in (("memory_in_mb", 1), ("disk_in_mb", 1), ("log_rate", -1)):
        if limits[name] is not None and not low <= limits[name] < 2**31:
            raise unprocessable(f"{name.replace('_', ' ').capitalize()} must be at least {low}")
    if options.web_instances is not None and options.web_instances < 1:
        raise unprocessable("Web instances must be an integer greater than 0")
    if (options.web_instances or 0) > MOST_INSTANCES:
        raise unprocessable(f"Web instances must be less than or equal to {MOST_INSTANCES}")
    return Wanted(
        app_guid=wanted.relationships.app.guid,
        droplet_guid=wanted.droplet.guid if wanted.droplet else None,
        revision_guid=wanted.revision.guid if wanted.revision else None,
        strategy=strategy,
        max_in_flight=options.max_in_flight or 1,
        weights=tuple(weights),
        instances=options.web_instances,
        limits={name: value for name, value in limits.items() if value is not None},
        labels=new_labels(wanted),
    )


def _wrong_weights(weights: list[int]) -> CloudError | None:
    of = "Options.canary.steps.instance weight"
    if any(not 1 <= weight <= 100 for weight in weights):
        return unprocessable(f"{of} must be an Integer between 1-100 (inclusive)")
    if weights != sorted(weights):
        return unprocessable(f"{of} must be sorted in ascending order")
    return None
