"""Clients that others wrote work against the appliance."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import trio

from .conftest import Desk


def look(api: str) -> dict[str, Any]:
    """What Python's own Cloud Foundry client sees."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own
        from cloudfoundry_client.client import CloudFoundryClient

        client = CloudFoundryClient(api)
        client.init_with_user_credentials("admin", "admin")
        (app,) = client.v3.apps.list()
        return {
            "name": app["name"],
            "state": app["state"],
            "space": app.space()["name"],
            "droplets": [one["state"] for one in app.droplets()],
            "processes": [one["type"] for one in app.processes()],
        }


async def test_cloudfoundry_client_sees_a_pushed_app(desk: Desk) -> None:
    """Login, lists, and the links that it makes methods of."""
    assert (await desk.cli("push", "hello", Path("sample_apps/python-hello"))).status == 0

    seen = await trio.to_thread.run_sync(look, desk.running.endpoints.api)

    assert seen == {
        "name": "hello",
        "state": "STARTED",
        "space": "dev",
        "droplets": ["STAGED"],
        "processes": ["web"],
    }
