"""What quotas of organizations and of spaces have in common: bodies and their rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from fake_controller.acting import Acting
from fake_controller.conditions import is_, same_text
from fake_controller.errors import unprocessable
from fake_controller.model import Organization, Process, Quota, Space

Q = TypeVar("Q", bound=Quota)
Limit = int | msgspec.UnsetType | None
MOST = 2**31 - 1  # of a limit; of a rate it is the square
NAME_MOST = 250  # characters
NAMED = 2  # places that a refusal names; the others are counted


class Apps(msgspec.Struct):
    total_memory_in_mb: Limit = msgspec.UNSET
    per_process_memory_in_mb: Limit = msgspec.UNSET
    total_instances: Limit = msgspec.UNSET
    per_app_tasks: Limit = msgspec.UNSET
    log_rate_limit_in_bytes_per_second: Limit = msgspec.UNSET


class Services(msgspec.Struct):
    paid_services_allowed: bool | None = None
    total_service_instances: Limit = msgspec.UNSET
    total_service_keys: Limit = msgspec.UNSET


class Routes(msgspec.Struct):
    total_routes: Limit = msgspec.UNSET
    total_reserved_ports: Limit = msgspec.UNSET


class Domains(msgspec.Struct):
    total_domains: Limit = msgspec.UNSET


class ChangedQuota(msgspec.Struct):
    name: str | None = None
    apps: Apps | None = None
    services: Services | None = None
    routes: Routes | None = None
    domains: Domains | None = None


def values_of(wanted: ChangedQuota, kind: type[Quota]) -> dict[str, Any]:
    """The fields of a quota of *kind* that *wanted* sets; checked."""
    given: dict[str, Any] = {}
    for group in ("apps", "services", "routes", "domains"):
        limits: Mapping[str, Any] = msgspec.structs.asdict(getattr(wanted, group) or Apps())
        for name, limit in limits.items():
            if limit is msgspec.UNSET or not hasattr(kind, name):
                continue
            _check_limit(group, name, limit)
            given[name] = True if name == "paid_services_allowed" and limit is None else limit
    return given


def _check_limit(group: str, name: str, limit: int | bool | None) -> None:
    most = 2**63 - 1 if name.startswith("log_rate") else MOST
    label = f"{group.capitalize()} {name.replace('_', ' ').capitalize()}"
    if limit is not None and limit < 0:
        raise unprocessable(f"{label} must be greater than or equal to 0")
    if limit is not None and limit > most:
        raise unprocessable(f"{label} must be less than or equal to {most}")


def check_name(
    acting: Acting, kind: type[Q], name: str, *, organization: str | None = None
) -> None:
    """Names are unique: of organization quotas everywhere, of space quotas in *organization*."""
    if not 1 <= len(name) <= NAME_MOST:
        long = len(name) > NAME_MOST
        which, much = ("long", f"maximum is {NAME_MOST}") if long else ("short", "minimum is 1")
        raise unprocessable(f"Name is too {which} ({much} characters)")
    there = [is_("organization_guid", organization)] if organization else []
    if acting.tx.first(kind, same_text("name", name), *there):
        noun = kind.__name__.removesuffix("Quota")
        raise unprocessable(f"{noun} Quota '{name}' already exists.")


def unlimited(acting: Acting, places: list[Organization] | list[Space]) -> list[str]:
    """Names of those *places* in which a process has no log rate limit."""
    path = {Organization: "app.space.organization_guid", Space: "app.space_guid"}
    return sorted(
        place.name
        for place in places
        if acting.tx.first(Process, is_(path[type(place)], place.guid), log_rate=-1)
    )


def check_log_rate_of_new(
    acting: Acting, quota: Quota, places: list[Organization] | list[Space]
) -> None:
    """Raises when *quota*, about to be applied to *places*, limits what has no limit there."""
    if quota.log_rate_limit_in_bytes_per_second is not None and unlimited(acting, places):
        noun = "org" if isinstance(places[0], Organization) else "space"
        raise unprocessable(
            f"Current usage exceeds new quota values. The {noun}(s) being assigned this quota "
            "contain apps running with an unlimited log rate limit."
        )


def check_log_rate_of_old(
    acting: Acting, values: Mapping[str, Any], places: list[Organization] | list[Space]
) -> None:
    """Raises when the new *values* of a quota of *places* limit what has no limit there."""
    if values.get("log_rate_limit_in_bytes_per_second") is None:
        return
    names = unlimited(acting, places)
    if not names:
        return
    noun = "org" if isinstance(places[0], Organization) else "space"
    which = "', '".join(names[:NAMED])
    if len(names) == 1:
        where = f"{noun} '{which}' which contains"
    elif len(names) > NAMED:
        where = f"{noun}s '{which}' and {len(names) - NAMED} other {noun}s which contain"
    else:
        where = f"{noun}s '{which}' which contain"
    raise unprocessable(
        f"Current usage exceeds new quota values. This quota is applied to {where} "
        "apps running with an unlimited log rate limit."
    )
