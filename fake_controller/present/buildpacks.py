"""Buildpacks and stacks. Pure."""

from __future__ import annotations

import re

from fake_controller.model import Buildpack, Stack
from fake_controller.present.shape import Json, common

_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def buildpack(record: Buildpack, base: str) -> Json:
    """A buildpack."""
    shown = common(record, base, "buildpacks")
    own = f"{base}/v3/buildpacks/{record.guid}"
    shown["links"]["upload"] = {"href": f"{own}/upload", "method": "POST"}
    return shown | {
        "name": record.name,
        "stack": record.stack,
        "position": record.position,
        "enabled": record.enabled,
        "locked": record.locked,
        "lifecycle": record.lifecycle,
        "filename": record.filename,
        "state": "READY" if record.filename else "AWAITING_UPLOAD",
    }


def stack(record: Stack, base: str) -> Json:
    """A stack. There are no root file systems: programs are this machine's."""
    return common(record, base, "stacks") | {
        "name": record.name,
        "description": record.description,
        "state": record.state,
        "state_reason": record.state_reason,
        "default": record.default,
        "build_rootfs_image": record.name,
        "run_rootfs_image": record.name,
    }


def without_login(buildpack: str) -> str:
    """The name or URL of a buildpack as others may read it: passwords in URLs are hidden."""
    return _LOGIN.sub("***:***", buildpack)
