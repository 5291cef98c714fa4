"""Whether what is used is within a quota, and what is said when it is not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fake_controller.model.quotas import OrganizationQuota, Quota
from fake_controller.model.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an organization or a space uses."""

    started_instances: int
    memory_in_mb: int  # of started instances and unfinished tasks
    log_rate: int  # bytes per second, of those that have a limit
    unlimited_log_rate: bool  # some that run have none
    tasks: int  # unfinished
    routes: int
    reserved_ports: int
    service_instances: int  # managed
    service_keys: int
    domains: int  # private

    def plus(self, instances: int, memory_in_mb: int, log_rate: int) -> Usage:
        """The same with so many started *instances* more, of so much each."""
        return replace(
            self,
            started_instances=self.started_instances + instances,
            memory_in_mb=self.memory_in_mb + instances * memory_in_mb,
            log_rate=self.log_rate + instances * max(log_rate, 0),
            unlimited_log_rate=self.unlimited_log_rate or (instances > 0 and log_rate < 0),
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """A quota, what it is applied to, and what is used there, with what is asked for."""

    quota: Quota
    name: str  # of the organization or space
    usage: Usage

    @property
    def where(self) -> str:
        """``organization`` or ``space``."""
        return "organization" if isinstance(self.quota, OrganizationQuota) else "space"


_LIMITS = (
    set(OrganizationQuota.__struct_fields__)
    - set(Record.__struct_fields__)
    - {"name", "paid_services_allowed"}
)


def limits_anything(quota: Quota) -> bool:
    """Whether usage matters at all; without a limit nobody needs to count it."""
    limits = (getattr(quota, name, None) for name in _LIMITS)
    return not quota.paid_services_allowed or any(limit is not None for limit in limits)


def process_problems(bound: Bound, memory: int) -> Iterator[str]:
    """What forbids a process whose instances have *memory* MB each, as validations say it."""
    quota, usage = bound.quota, bound.usage
    of_space = "space_" if bound.where == "space" else ""
    if _over(usage.memory_in_mb, quota.total_memory_in_mb):
        yield f"memory {of_space}quota_exceeded"
    if _over(memory, quota.per_process_memory_in_mb):
        yield f"memory {of_space}instance_memory_limit_exceeded"
    if _over(usage.started_instances, quota.total_instances):
        yield f"app_instance_limit {of_space}app_instance_limit_exceeded"
    yield from _log_rate_problems(bound)


def rolling_problem(problems: Sequence[str], space: str, organization: str) -> str:
    """What is said when both versions of an app, for a while, are too much together."""
    text = ", ".join(problems)
    if "space_quota_exceeded" in text or "space_app_instance_limit_exceeded" in text:
        where, what = f"space {space}", "space"
    elif "quota_exceeded" in text or "app_instance_limit_exceeded" in text:
        where, what = f"organization {organization}", "organization"
    else:
        return text
    return (
        f"{text} for {where}. This {what}'s quota may not be large enough to support rolling "
        "deployments or your configured max-in-flight."
    )


def task_problems(bound: Bound, memory: int) -> Iterator[str]:
    """What forbids a task that has *memory* MB."""
    quota, usage, where = bound.quota, bound.usage, bound.where
    if _over(usage.memory_in_mb, quota.total_memory_in_mb):
        yield f"memory_in_mb exceeds {where} memory quota"
    if _over(memory, quota.per_process_memory_in_mb):
        yield f"memory_in_mb exceeds {where} instance memory quota"
    yield from _log_rate_problems(bound)
    if _over(usage.tasks, quota.per_app_tasks):
        yield "app_task_limit quota exceeded"


def route_problem(bound: Bound, *, port: bool) -> str | None:
    """What forbids a route; *port* is whether it reserves one."""
    if _over(bound.usage.routes, bound.quota.total_routes):
        return f"Routes quota exceeded for {bound.where} '{bound.name}'."
    if port and _over(bound.usage.reserved_ports, bound.quota.total_reserved_ports):
        return f"Reserved route ports quota exceeded for {bound.where} '{bound.name}'."
    return None


def has_too_many_service_instances(bound: Bound) -> bool:
    """Whether the managed service instances are more than allowed."""
    return _over(bound.usage.service_instances, bound.quota.total_service_instances)


def has_too_many_service_keys(bound: Bound) -> bool:
    """Whether the service keys are more than allowed."""
    return _over(bound.usage.service_keys, bound.quota.total_service_keys)


def has_too_many_domains(bound: Bound) -> bool:
    """Whether the organization's private domains are more than allowed."""
    quota = bound.quota
    return isinstance(quota, OrganizationQuota) and _over(bound.usage.domains, quota.total_domains)


def _log_rate_problems(bound: Bound) -> Iterator[str]:
    limit = bound.quota.log_rate_limit_in_bytes_per_second
    if limit is not None and bound.usage.unlimited_log_rate:
        yield f"log_rate_limit cannot be unlimited in {bound.where} '{bound.name}'."
    if _over(bound.usage.log_rate, limit):
        yield f"log_rate_limit exceeds {bound.where} log rate quota"


def _over(used: int, limit: int | None) -> bool:
    return limit is not None and used > limit
