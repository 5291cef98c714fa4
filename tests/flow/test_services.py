"""A broker is an app itself: its services are made, bound to another app, and deleted."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

import appliance
from appliance.boot import anywhere
from appliance.config import Config
from tests.person import Person

from .conftest import Desk

BROKER = {"app.py": Path("sample_apps/service-broker/app.py").read_text()}
CLIENT = {"app.py": Path("sample_apps/bound-services/app.py").read_text()}


async def until_done(person: Person, method: str, path: str, body: Any = None) -> None:
    """Ask for something that a job does, and wait until it has."""
    answer = await person.raw(method, path, body)
    assert answer.status == 202, answer.body
    job = urlsplit(answer.headers["location"]).path
    with trio.fail_after(20):
        while (told := await person.call("GET", job))["state"] in ("PROCESSING", "POLLING"):
            await trio.lowlevel.checkpoint()
    assert told["state"] == "COMPLETE", told["errors"]


@pytest.fixture
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """An appliance that asks brokers more often than is good for them."""
    config = anywhere(Config())
    hasty = replace(config, controller=replace(config.controller, broker_poll=0.05))
    async with appliance.running(hasty) as running:
        yield Desk(running, str(tmp_path_factory.mktemp("home")))


@pytest.mark.skipif(shutil.which("python3") is None, reason="the sample apps need python3")
async def test_an_app_uses_what_another_app_offers(desk: Desk, tmp_path: Path) -> None:
    """Registered by its route, asynchronous, and seen by the bound app after a restart."""
    person = Person(desk.running.endpoints.api, desk.running.kit.http)
    await person.login()
    port = desk.running.endpoints.apps.rpartition(":")[2]
    await person.push("broker", tmp_path, BROKER, env={"BROKER_DELAY": "0.2"})
    client = await person.push("client", tmp_path, CLIENT)
    login = {"type": "basic", "credentials": {"username": "broker", "password": "secret"}}
    url = f"http://broker.apps.localhost:{port}"
    body = {"name": "notes", "url": url, "authentication": login}
    await until_done(person, "POST", "/v3/service_brokers", body)
    plans = await person.call("GET", "/v3/service_plans?names=later&available=true")
    plan = plans["resources"][0]["guid"]
    await person.call("PATCH", f"/v3/service_plans/{plan}/visibility", {"type": "public"})
    space = (await person.call("GET", "/v3/spaces"))["resources"][0]["guid"]
    relations = {"space": {"data": {"guid": space}}, "service_plan": {"data": {"guid": plan}}}
    wanted = {"type": "managed", "name": "my-notes", "relationships": relations}
    await until_done(person, "POST", "/v3/service_instances", wanted)
    [instance] = (await person.call("GET", "/v3/service_instances"))["resources"]
    related = {"service_instance": instance["guid"], "app": client}
    relations = {name: {"data": {"guid": guid}} for name, guid in related.items()}
    binding = {"type": "app", "relationships": relations}
    await until_done(person, "POST", "/v3/service_credential_bindings", binding)
    await person.call("POST", f"/v3/apps/{client}/actions/restart")

    with trio.fail_after(20):
        while "my-notes" not in (said := (await desk.get("client.apps.localhost")).text):
            await trio.lowlevel.checkpoint()

    assert said == "my-notes (notes, plan later) gives password, uri, username\n"
    [bound] = (await person.call("GET", "/v3/service_credential_bindings"))["resources"]
    details = f"/v3/service_credential_bindings/{bound['guid']}/details"
    uri = (await person.call("GET", details))["credentials"]["uri"]
    kept = await person.http.request("PUT", uri, content="buy milk")
    assert kept.json() == {"notes": ["buy milk"]}
    await until_done(person, "DELETE", f"/v3/service_credential_bindings/{bound['guid']}")
    assert (await person.http.request("GET", uri)).status == 401
    await until_done(person, "DELETE", f"/v3/service_instances/{instance['guid']}")
    assert (await person.call("GET", "/v3/service_instances"))["resources"] == []
