"""A service broker that says what a test wants it to, and notes what it is asked."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from appliance.kernel.http.blob_plane import Blob, Exchange
from appliance.kernel.http.server import serve_http
from tests.fake_controller.conftest import Cloud

BINDINGS = "/v3/service_credential_bindings"
CATALOG: dict[str, Any] = {
    "services": [
        {
            "id": "service-id",
            "name": "database",
            "description": "Keeps rows",
            "bindable": True,
            "plan_updateable": True,
            "instances_retrievable": True,
            "bindings_retrievable": True,
            "tags": ["sql"],
            "metadata": {"shareable": True, "documentationUrl": "https://docs"},
            "plans": [
                {"id": "small-id", "name": "small", "description": "One row"},
                {
                    "id": "large-id",
                    "name": "large",
                    "description": "Two rows",
                    "free": False,
                    "maintenance_info": {"version": "2.0.0", "description": "newer"},
                    "metadata": {"costs": [{"amount": {"usd": 9.5}, "unit": "MONTHLY"}]},
                },
            ],
        }
    ]
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    what: str  # catalog, provision, update, deprovision, bind, unbind, last, instance, binding
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    params: dict[str, str]


@dataclass
class FakeBroker:
    """Answers by the specification, unless `says` has something else for the next request."""

    url: str = ""
    catalog: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(CATALOG))
    says: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    hold: trio.Event | None = None  # nothing is answered before it is set
    asked: list[Asked] = field(default_factory=list)

    def of(self, what: str) -> list[Asked]:
        """The requests of one kind."""
        return [one for one in self.asked if one.what == what]

    def usual(self, what: str) -> tuple[int, Any]:
        """What is said when nothing else is wanted."""
        return {
            "catalog": (200, self.catalog),
            "provision": (201, {"dashboard_url": "https://dashboard"}),
            "update": (200, {}),
            "deprovision": (200, {}),
            "bind": (201, {"credentials": {"user": "u"}}),
            "unbind": (200, {}),
            "last": (200, {"state": "succeeded"}),
            "instance": (200, {"parameters": {"rows": 1}}),
            "binding": (200, {"credentials": {"user": "late"}, "parameters": {"role": "r"}}),
        }[what]

    def blobs(self) -> list[Blob]:
        """Its routes."""
        instance = "/v2/service_instances/:instance"
        binding = f"{instance}/service_bindings/:binding"
        routes = [
            ("GET", "/v2/catalog", "catalog"),
            ("PUT", instance, "provision"),
            ("PATCH", instance, "update"),
            ("DELETE", instance, "deprovision"),
            ("GET", instance, "instance"),
            ("GET", f"{instance}/last_operation", "last"),
            ("PUT", binding, "bind"),
            ("DELETE", binding, "unbind"),
            ("GET", binding, "binding"),
            ("GET", f"{binding}/last_operation", "last"),
        ]
        return [Blob(method, path, self._answering(what)) for method, path, what in routes]

    def _answering(self, what: str) -> Any:
        async def answer(exchange: Exchange) -> None:
            data = await exchange.receive_bytes(1 << 20)
            self.asked.append(
                Asked(
                    what=what,
                    query=exchange.query,
                    headers=dict(exchange.headers),
                    body=json.loads(data) if data else None,
                    params=exchange.params,
                )
            )
            if self.hold is not None:
                await self.hold.wait()
            waiting = self.says.get(what)
            status, body = waiting.pop(0) if waiting else self.usual(what)
            await exchange.reply(status, body, headers=self.headers)

        return answer


@asynccontextmanager
async def running_broker(cloud: Cloud) -> AsyncIterator[FakeBroker]:
    """A broker beside *cloud*."""
    broker = FakeBroker()

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        await serve_http(
            None,
            "127.0.0.1:0",
            cloud.kit.named("broker"),
            blobs=broker.blobs(),
            task_status=task_status,
        )

    broker.url = await cloud.nursery.start(serve)
    yield broker


async def ended(cloud: Cloud, location: str) -> Any:
    """The job at *location*, once it has ended."""
    with trio.fail_after(10):
        while True:
            job = await cloud.call("GET", location, expect=200)
            if job["state"] in ("COMPLETE", "FAILED"):
                return job


async def done(cloud: Cloud, method: str, path: str, body: Any = None) -> None:
    """Ask for something that a job does, which must succeed."""
    job = await ended(cloud, await cloud.call(method, path, body, expect=202))
    assert job["state"] == "COMPLETE", job["errors"]


async def failed(cloud: Cloud, method: str, path: str, body: Any = None) -> str:
    """Ask for something that a job does, which must fail; the sentence that tells why."""
    job = await ended(cloud, await cloud.call(method, path, body, expect=202))
    assert job["state"] == "FAILED", job
    [error] = job["errors"]
    return str(error["detail"])


def registration(broker: FakeBroker, name: str = "shop", **values: Any) -> Any:
    """The body that registers *broker*."""
    login = {"type": "basic", "credentials": {"username": "u", "password": "p"}}
    return {"name": name, "url": broker.url, "authentication": login} | values


async def register(cloud: Cloud, broker: FakeBroker, *, public: bool = True) -> dict[str, str]:
    """Register *broker*; the guids of its plans by name."""
    await done(cloud, "POST", "/v3/service_brokers", registration(broker))
    plans = await cloud.call("GET", "/v3/service_plans", expect=200)
    guids = {plan["name"]: plan["guid"] for plan in plans["resources"]}
    if public:
        for guid in guids.values():
            path = f"/v3/service_plans/{guid}/visibility"
            await cloud.call("PATCH", path, {"type": "public"}, expect=200)
    return guids


async def wanted(cloud: Cloud, plan: str, name: str = "db", **values: Any) -> Any:
    """The body that creates a managed instance."""
    relations = {
        "space": {"data": {"guid": await cloud.space()}},
        "service_plan": {"data": {"guid": plan}},
    }
    return {"type": "managed", "name": name, "relationships": relations} | values


async def instance(cloud: Cloud, plan: str, name: str = "db", **values: Any) -> str:
    """The guid of a new instance."""
    body = await wanted(cloud, plan, name, **values)
    await done(cloud, "POST", "/v3/service_instances", body)
    return str((await shown(cloud, name))["guid"])


async def shown(cloud: Cloud, name: str = "db") -> Any:
    """The instance of that name."""
    page = await cloud.call("GET", f"/v3/service_instances?names={name}", expect=200)
    return page["resources"][0]


def binding_of(instance: str, app: str | None = None, **values: Any) -> Any:
    """The body that binds an app, or makes a key."""
    relations = {"service_instance": {"data": {"guid": instance}}}
    if app:
        relations["app"] = {"data": {"guid": app}}
    return {"type": "app" if app else "key", "relationships": relations} | values
