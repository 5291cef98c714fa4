"""What organizations and spaces use, and that it stays within their quotas.

The checks are made after the record is stored: they raise, and the unit of work is undone.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from fake_controller.conditions import ALL, Condition, is_
from fake_controller.errors import unprocessable
from fake_controller.model import (
    App,
    Domain,
    Organization,
    OrganizationQuota,
    Process,
    Quota,
    Route,
    ServiceCredentialBinding,
    ServiceInstance,
    Space,
    SpaceQuota,
    Task,
)
from fake_controller.model.tasks import UNFINISHED
from fake_controller.quota import (
    Bound,
    Usage,
    has_too_many_domains,
    has_too_many_service_instances,
    has_too_many_service_keys,
    limits_anything,
    process_problems,
    rolling_problem,
    route_problem,
    task_problems,
)
from fake_controller.store import Tx


def usage_of(tx: Tx, where: Organization | Space | None) -> Usage:
    """What is used in *where* now; None is the whole platform."""
    processes = tx.find(Process, _inside(where, "app."), is_("app.state", "STARTED"))
    tasks = tx.find(Task, _inside(where, "app."), state=UNFINISHED)
    running = [(one.log_rate, one.instances) for one in processes if one.instances]
    running += [(one.log_rate, 1) for one in tasks]
    if where is None:
        domains = ALL
    else:
        owner = where.guid if isinstance(where, Organization) else where.organization_guid
        domains = is_("organization_guid", owner)
    return Usage(
        started_instances=sum(one.instances for one in processes),
        memory_in_mb=sum(one.instances * one.memory_in_mb for one in processes)
        + sum(one.memory_in_mb for one in tasks),
        log_rate=sum(rate * count for rate, count in running if rate > 0),
        unlimited_log_rate=any(rate < 0 for rate, _ in running),
        tasks=len(tasks),
        routes=tx.count(Route, _inside(where)),
        reserved_ports=tx.count(Route, _inside(where), ~is_("port", None)),
        service_instances=tx.count(ServiceInstance, _inside(where), type="managed"),
        service_keys=tx.count(
            ServiceCredentialBinding, _inside(where, "service_instance."), type="key"
        ),
        domains=tx.count(Domain, domains),
    )


def bounds(tx: Tx, space: Space | None, organization_guid: str = "") -> list[Bound]:
    """The quotas that limit *space*, or an organization alone, and what is used."""
    organization = tx.get(Organization, space.organization_guid if space else organization_guid)
    found = []
    places: list[tuple[Organization | Space | None, type[Quota], str | None]] = [
        (space, SpaceQuota, space.space_quota_guid if space else None),
        (
            organization,
            OrganizationQuota,
            organization.organization_quota_guid if organization else None,
        ),
    ]
    for where, kind, guid in places:
        quota = tx.get(kind, guid)
        if where and quota and limits_anything(quota):
            found.append(Bound(quota, where.name, usage_of(tx, where)))
    return found


def check_process(tx: Tx, process: Process) -> None:
    """Raises 422 when *process*, as it is stored now, is more than a quota allows.

    Only what is started counts.
    """
    app = tx.need(App, process.app_guid)
    if app.state != "STARTED":
        return
    every = bounds(tx, tx.get(Space, app.space_guid))
    _refuse(chain(*(process_problems(bound, process.memory_in_mb) for bound in every)))


def check_rolling(tx: Tx, process: Process, at_once: int) -> None:
    """Raises 422 when *at_once* instances of *process* beside all that runs are too much."""
    space = tx.need(Space, tx.need(App, process.app_guid).space_guid)
    organization = tx.need(Organization, space.organization_guid)
    memory, rate = process.memory_in_mb, process.log_rate
    problems: list[str] = []
    for bound in bounds(tx, space):
        both = replace(bound, usage=bound.usage.plus(at_once, memory, rate))
        problems += process_problems(both, memory)
    if problems:
        raise unprocessable(rolling_problem(problems, space.name, organization.name))


def check_task(tx: Tx, task: Task) -> None:
    """Raises 422 when *task* is more than a quota allows."""
    app = tx.need(App, task.app_guid)
    every = bounds(tx, tx.get(Space, app.space_guid))
    _refuse(chain(*(task_problems(bound, task.memory_in_mb) for bound in every)))


def check_route(tx: Tx, route: Route) -> None:
    """Raises 422 when *route* is one more than a quota allows."""
    for bound in bounds(tx, tx.get(Space, route.space_guid)):
        if problem := route_problem(bound, port=route.port is not None):
            raise unprocessable(problem)


def check_service_instance(tx: Tx, instance: ServiceInstance, *, paid: bool) -> None:
    """Raises 422 when a managed *instance* is more than a quota allows; *paid* is its plan."""
    for bound in bounds(tx, tx.get(Space, instance.space_guid)):
        if has_too_many_service_instances(bound):
            raise unprocessable(f"You have exceeded your {bound.where}'s services limit.")
        if paid and not bound.quota.paid_services_allowed:
            whose = " for your space" if bound.where == "space" else ""
            raise unprocessable(
                "The service instance cannot be created because paid service plans are not "
                f"allowed{whose}."
            )


def check_service_key(tx: Tx, instance: ServiceInstance) -> None:
    """Raises 422 when *instance* has one key more than a quota allows."""
    for bound in bounds(tx, tx.get(Space, instance.space_guid)):
        if has_too_many_service_keys(bound):
            raise unprocessable(
                f"You have exceeded your {bound.where}'s limit for service binding of type key."
            )


def check_domain(tx: Tx, organization: Organization) -> None:
    """Raises 422 when *organization* has one private domain more than its quota allows."""
    for bound in bounds(tx, None, organization.guid):
        if has_too_many_domains(bound):
            raise unprocessable(
                "The number of private domains exceeds the quota for organization "
                f'"{organization.name}"'
            )


def _refuse(problems: chain[str]) -> None:
    if found := list(problems):
        raise unprocessable(", ".join(found))


def _inside(where: Organization | Space | None, prefix: str = "") -> Condition:
    if where is None:
        return ALL
    step = "space.organization_guid" if isinstance(where, Organization) else "space_guid"
    return is_(prefix + step, where.guid)
