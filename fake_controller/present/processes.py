"""Processes and what their instances do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fake_controller.actual import Instance
from fake_controller.model import Process
from fake_controller.present.shape import Json, common, to_one


def process(record: Process, base: str, command: str | None = None) -> Json:
    """A process; *command* is what runs, or HIDDEN."""
    shown = common(record, base, "processes")
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
        "relationships": {"app": to_one(record.app_guid), "revision": to_one(record.revision_guid)},
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
        "routable": None if instance.state == "DOWN" else instance.routable,
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
                "log_rate": int(usage["log_rate"]),
            }
    return shown
