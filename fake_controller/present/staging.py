"""Packages, builds and droplets. Pure."""

from __future__ import annotations

from fake_controller.model import Build, Droplet, Package
from fake_controller.present.buildpacks import without_login
from fake_controller.present.shape import Json, common, to_one


def package(record: Package, base: str) -> Json:
    """A package."""
    shown = common(record, base, "packages")
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
    shown = common(record, base, "builds")
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
            "data": {
                "buildpacks": [without_login(name) for name in record.buildpacks],
                "stack": record.stack,
            },
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
    shown = common(record, base, "droplets")
    own = f"{base}/v3/droplets/{record.guid}"
    shown["links"] |= {
        "app": {"href": f"{base}/v3/apps/{record.app_guid}"},
        "download": {"href": f"{own}/download"},
    }
    if record.package_guid:
        shown["links"]["package"] = {"href": f"{base}/v3/packages/{record.package_guid}"}
    buildpacks: list[Json] | None = None
    if record.buildpacks:
        buildpacks = [one | {"name": without_login(one["name"] or "")} for one in record.buildpacks]
    elif record.detected:
        name = record.detected
        buildpacks = [
            {"name": name, "detect_output": name, "version": None, "buildpack_name": name}
        ]
    return shown | {
        "state": record.state,
        "error": record.error,
        "lifecycle": {"type": "buildpack", "data": {}},
        "execution_metadata": record.execution_metadata,
        "process_types": record.process_types,
        "checksum": {"type": "sha256", "value": record.sha256} if record.sha256 else None,
        "buildpacks": buildpacks,
        "stack": record.stack,
        "image": None,
        "relationships": {"app": to_one(record.app_guid)},
        "appliance": {"sha1": record.sha1, "size": record.size},
    }
