"""The root document, where every client begins, and the health of the process.

They need no web framework, so they answer before it is loaded.
"""

from __future__ import annotations

from typing import Any

from appliance.kernel.http.blob_plane import Blob, Exchange
from fake_controller.controller import Controller

API_VERSION = "3.211.0"  # what the CLI compares: every call that this version gates is here


def blobs(cc: Controller) -> list[Blob]:
    """``/``, ``/healthz`` and ``/readyz``."""

    async def root(exchange: Exchange) -> None:
        # Clients keep this document: what is not in it yet would be missed for long.
        await cc.ssh_room.settled.wait()
        base = cc.config.external_url or exchange.url
        await exchange.reply(200, document(base, cc.ssh_room.link(base)))

    async def healthz(exchange: Exchange) -> None:
        await exchange.reply(200, "ok")

    async def readyz(exchange: Exchange) -> None:
        health = cc.kit.health
        await exchange.reply(200 if health.ready() else 503, health.report())

    return [
        Blob("GET", "/", root),
        Blob("GET", "/healthz", healthz),
        Blob("GET", "/readyz", readyz),
    ]


def document(base: str, app_ssh: dict[str, Any] | None) -> dict[str, Any]:
    """Where everything is; *base* is the URL that links begin with."""
    links: dict[str, Any] = {
        "self": {"href": base},
        "cloud_controller_v2": None,
        "cloud_controller_v3": {"href": f"{base}/v3", "meta": {"version": API_VERSION}},
        "login": {"href": base},
        "uaa": {"href": base},
        "log_cache": {"href": base},
        "logging": None,
        "log_stream": {"href": base},
        "network_policy_v0": None,
        "network_policy_v1": {"href": f"{base}/networking/v1/external"},
        "routing": None,
        "credhub": None,
        "app_ssh": app_ssh,
    }
    return {"links": links}
