"""Records as the V3 API shows them. Pure: *base* is the URL that links begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fake_controller.actual import Instance
from fake_controller.model import (
    App,
    Build,
    Deployment,
    Destination,
    Domain,
    Droplet,
    Job,
    Organization,
    Package,
    Process,
    Record,
    Route,
    Space,
    User,
)

Json = dict[str, Any]
HIDDEN = "[PRIVATE DATA HIDDEN IN LISTS]"


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds, ``Z``: the only form that every client parses."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_one(guid: str | None) -> Json:
    """A relationship to one record."""
    return {"data": {"guid": guid} if guid else None}


def _common(record: Record, base: str, path: str, *, metadata: bool = True) -> Json:
    shown: Json = {
        "guid": record.guid,
        "created_at": timestamp(record.created_at),
        "updated_at": timestamp(record.updated_at),
        "links": {"self": {"href": f"{base}/v3/{path}/{record.guid}"}},
    }
    if metadata:
        shown["metadata"] = {"labels": record.labels, "annotations": record.annotations}
    return shown


def organization(record: Organization, base: str) -> Json:
    """An organization."""
    shown = _common(record, base, "organizations")
    own = f"{base}/v3/organizations/{record.guid}"
    shown["links"] |= {
        "domains": {"href": f"{own}/domains"},
        "default_domain": {"href": f"{own}/domains/default"},
    }
    return shown | {
        "name": record.name,
        "suspended": record.suspended,
        "relationships": {"quota": to_one(None)},
    }


def space(record: Space, base: str) -> Json:
    """A space."""
    shown = _common(record, base, "spaces")
    shown["links"] |= {
        "organization": {"href": f"{base}/v3/organizations/{record.organization_guid}"},
        "apps": {"href": f"{base}/v3/apps?space_guids={record.guid}"},
    }
    return shown | {
        "name": record.name,
        "relationships": {
            "organization": to_one(record.organization_guid),
            "quota": to_one(None),
        },
    }


def domain(record: Domain, base: str) -> Json:
    """A domain; shared when it belongs to no organization."""
    return _common(record, base, "domains") | {
        "name": record.name,
        "internal": record.internal,
        "router_group": None,
        "supported_protocols": ["http"],
        "relationships": {
            "organization": to_one(record.organization_guid),
            "shared_organizations": {"data": []},
        },
    }


def user(record: User, base: str) -> Json:
    """A user."""
    return _common(record, base, "users") | {
        "username": record.username,
        "presentation_name": record.username,
        "origin": record.origin,
    }


def app(record: App, base: str) -> Json:
    """An app."""
    shown = _common(record, base, "apps")
    own = f"{base}/v3/apps/{record.guid}"
    shown["links"] |= {
        name: {"href": f"{own}/{path}"}
        for name, path in (
            ("environment_variables", "environment_variables"),
            ("processes", "processes"),
            ("packages", "packages"),
            ("current_droplet", "droplets/current"),
            ("droplets", "droplets"),
        )
    }
    shown["links"] |= {
        "space": {"href": f"{base}/v3/spaces/{record.space_guid}"},
        "start": {"href": f"{own}/actions/start", "method": "POST"},
        "stop": {"href": f"{own}/actions/stop", "method": "POST"},
    }
    return shown | {
        "name": record.name,
        "state": record.state,
        "lifecycle": {
            "type": "buildpack",
            "data": {"buildpacks": list(record.buildpacks), "stack": record.stack},
        },
        "relationships": {
            "space": to_one(record.space_guid),
            "current_droplet": to_one(record.droplet_guid),
        },
    }


def process(record: Process, base: str, command: str | None = None) -> Json:
    """A process; *command* is what runs, or HIDDEN."""
    shown = _common(record, base, "processes")
    own = f"{base}/v3/processes/{record.guid}"
    shown["links"] |= {
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
        "stats": {"href": f"{own}/stats"},
        "scale": {"href": f"{own}/actions/scale", "method": "POST"},
    }
    health: Json = {
        "timeout": record.health_check_timeout,
        "invocation_timeout": record.health_check_invocation_timeout,
        "interval": record.health_check_interval,
    }
    if record.health_check_type == "http":
        health["endpoint"] = record.health_check_endpoint
    readiness: Json = {
        "invocation_timeout": record.readiness_invocation_timeout,
        "interval": record.readiness_interval,
    }
    if record.readiness_type == "http":
        readiness["endpoint"] = record.readiness_endpoint
    return shown | {
        "type": record.type,
        "command": command,
        "user": "vcap",
        "instances": record.instances,
        "memory_in_mb": record.memory_in_mb,
        "disk_in_mb": record.disk_in_mb,
        "log_rate_limit_in_bytes_per_second": record.log_rate,
        "health_check": {"type": record.health_check_type, "data": health},
        "readiness_health_check": {"type": record.readiness_type, "data": readiness},
        "relationships": {"app": to_one(record.app_guid), "revision": None},
        "version": f"{record.guid}-{record.run_count}",
    }


def instance_stats(
    instance: Instance, process: Process, stats: Mapping[str, Any] | None, now: float
) -> Json:
    """One entry of a process's stats; *stats* is what the DEA measured, if it runs."""
    shown: Json = {
        "type": process.type,
        "index": instance.index,
        "instance_guid": instance.guid or None,
        "state": instance.state,
        "routable": None if instance.state == "DOWN" else instance.state == "RUNNING",
        "uptime": None,
        "isolation_segment": None,
        "details": instance.details,
    }
    if instance.state == "DOWN":
        return shown
    mib = 1024 * 1024
    shown |= {
        "usage": {},
        "uptime": max(0, int(now - instance.since)),
        "mem_quota": process.memory_in_mb * mib,
        "disk_quota": process.disk_in_mb * mib,
        "fds_quota": 16384,
        "log_rate_limit": process.log_rate,
    }
    if stats:
        usage = stats.get("usage") or {}
        shown["host"] = stats["host"]
        shown["instance_internal_ip"] = stats["host"]
        if port := stats.get("port"):
            shown["instance_ports"] = [
                {
                    "external": port,
                    "internal": port,
                    "external_tls_proxy_port": None,
                    "internal_tls_proxy_port": None,
                }
            ]
        else:
            shown["instance_ports"] = []
        if usage:
            shown["usage"] = {
                "time": usage["time"],
                "cpu": usage["cpu"] / 100,
                "cpu_entitlement": usage["cpu"] / 100,
                "mem": int(usage["mem"] * 1024),
                "disk": int(usage["disk"]),
                "log_rate": 0,
            }
    return shown


def package(record: Package, base: str) -> Json:
    """A package."""
    shown = _common(record, base, "packages")
    own = f"{base}/v3/packages/{record.guid}"
    shown["links"] |= {
        "upload": {"href": f"{own}/upload", "method": "POST"},
        "download": {"href": f"{own}/download", "method": "GET"},
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
    }
    return shown | {
        "type": record.type,
        "state": record.state,
        "data": {
            "checksum": {"type": "sha256", "value": record.sha256},
            "error": record.error,
        },
        "relationships": {"app": to_one(record.app_guid)},
    }


def build(record: Build, base: str) -> Json:
    """A build; ``appliance`` tells more of a failure than V3 has words for."""
    shown = _common(record, base, "builds")
    shown["links"]["app"] = {"href": f"{base}/v3/apps/{record.app_guid}"}
    if record.droplet_guid:
        shown["links"]["droplet"] = {"href": f"{base}/v3/droplets/{record.droplet_guid}"}
    return shown | {
        "state": record.state,
        "error": record.error,
        "staging_memory_in_mb": record.memory_in_mb,
        "staging_disk_in_mb": record.disk_in_mb,
        "staging_log_rate_limit_bytes_per_second": -1,
        "lifecycle": {
            "type": "buildpack",
            "data": {"buildpacks": list(record.buildpacks), "stack": record.stack},
        },
        "package": {"guid": record.package_guid},
        "droplet": {"guid": record.droplet_guid} if record.droplet_guid else None,
        "created_by": record.created_by,
        "relationships": {"app": to_one(record.app_guid)},
        "appliance": {
            "failure": record.failure,
            "staging": record.staging,
            "task_log": record.task_log,
        },
    }


def droplet(record: Droplet, base: str) -> Json:
    """A droplet."""
    shown = _common(record, base, "droplets")
    own = f"{base}/v3/droplets/{record.guid}"
    shown["links"] |= {
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
        "download": {"href": f"{own}/download"},
    }
    if record.package_guid:
        shown["links"]["package"] = {"href": f"{base}/v3/packages/{record.package_guid}"}
    buildpacks = None
    if record.detected:
        name = record.detected
        buildpacks = [
            {"name": name, "detect_output": name, "version": None, "buildpack_name": name}
        ]
    return shown | {
        "state": record.state,
        "error": record.error,
        "lifecycle": {"type": "buildpack", "data": {}},
        "execution_metadata": "",
        "process_types": record.process_types,
        "checksum": {"type": "sha256", "value": record.sha256} if record.sha256 else None,
        "buildpacks": buildpacks,
        "stack": record.stack,
        "image": None,
        "relationships": {"app": to_one(record.app_guid)},
        "appliance": {"sha1": record.sha1, "size": record.size},
    }


def destination(record: Destination) -> Json:
    """Where a route leads."""
    return {
        "guid": record.guid,
        "app": {"guid": record.app_guid, "process": {"type": record.process_type}},
        "weight": record.weight,
        "port": record.port,
        "protocol": record.protocol,
    }


def route(
    record: Route, base: str, domains: Mapping[str, str], destinations: Sequence[Destination]
) -> Json:
    """A route; *domains* are names by guid, *destinations* those of this route."""
    shown = _common(record, base, "routes")
    shown["links"] |= {
        "space": {"href": f"{base}/v3/spaces/{record.space_guid}"},
        "domain": {"href": f"{base}/v3/domains/{record.domain_guid}"},
        "destinations": {"href": f"{base}/v3/routes/{record.guid}/destinations"},
    }
    name = f"{record.host}.{domains[record.domain_guid]}".removeprefix(".")
    port = f":{record.port}" if record.port else ""
    return shown | {
        "protocol": "http",
        "host": record.host,
        "path": record.path,
        "port": record.port,
        "url": f"{name}{port}{record.path}",
        "destinations": [destination(one) for one in destinations],
        "options": record.options,
        "relationships": {
            "space": to_one(record.space_guid),
            "domain": to_one(record.domain_guid),
        },
    }


def deployment(record: Deployment, base: str) -> Json:
    """A deployment."""
    shown = _common(record, base, "deployments")
    own = f"{base}/v3/deployments/{record.guid}"
    shown["links"] |= {
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
        "cancel": {"href": f"{own}/actions/cancel", "method": "POST"},
    }
    return shown | {
        "status": {
            "value": record.status_value,
            "reason": record.status_reason,
            "details": {
                "last_successful_healthcheck": timestamp(record.status_changed_at),
                "last_status_change": timestamp(record.status_changed_at),
            },
        },
        "strategy": record.strategy,
        "options": {"max_in_flight": record.max_in_flight},
        "droplet": {"guid": record.droplet_guid},
        "previous_droplet": {"guid": record.previous_droplet_guid},
        "new_processes": [{"guid": record.new_process_guid, "type": "web"}],
        "revision": None,
        "relationships": {"app": to_one(record.app_guid)},
    }


def job(record: Job, base: str) -> Json:
    """A job."""
    return _common(record, base, "jobs", metadata=False) | {
        "operation": record.operation,
        "state": record.state,
        "errors": list(record.errors),
        "warnings": [{"detail": text} for text in record.warnings],
    }
